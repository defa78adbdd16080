/** What pollers need of the object that owns the tables (`TableHost` is one). */
export interface EventHost {
  onClose(release: () => void): () => void;
  shared<T>(key: string, make: () => T): T;
}
