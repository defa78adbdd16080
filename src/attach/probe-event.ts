import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { PerfType } from '../constants';
import { BCCError } from '../errors';
import { perfEventAttr } from '../kernel/perf-attr';
import { listProbeEvents, type ProbeEventKind, tracepointId, writeProbeEvents } from '../kernel/tracefs';
import { openProgramEvent } from './tracing-event';

/*
 * Events that are made by writing a line to tracefs: for what perf_event_open alone cannot do (`maxactive`, many
 * functions on one event) and for kernels before 4.17, where it cannot make kprobes at all. Unlike a perf event, such an
 * event outlives the process that made it: so it is removed with its link, and what processes left behind when they were
 * killed is swept at the next use.
 */

/** All events of this library are in one group; their names begin with the pid of their maker. */
const GROUP = 'tsbcc';
const OURS = new RegExp(`^[pr]\\d*:${GROUP}/(p(\\d+)_\\w+) `);

/** Pids are told apart by PID namespaces, tracefs is not. */
const token = randomBytes(4).toString('hex');
let made = 0;
const swept = new Set<ProbeEventKind>();

/** One place of an event: what stands after the name in the line (`vfs_read+8`, `/bin/sh:0x1234`). */
export interface ProbePlace {
  place: string;
  /** The errno that refused it, 0 where it was taken. */
  errno: number;
}

/** An event with at least one place, and the program on it. */
export class ProbeEvent {
  private constructor(
    private readonly kind: ProbeEventKind,
    private readonly name: string,
    private readonly close: () => void,
  ) {}

  /**
   * Makes one event of all places that the kernel takes and puts the program on it. `letter` is `p`, `r` or `r` with a
   * number (maxactive). Where the kernel keeps only one place an event (before 5.5) although more were taken, or where
   * it cannot start them together, nothing is left behind and the result is undefined.
   */
  static attach(
    kind: ProbeEventKind,
    letter: string,
    places: readonly string[],
    programFd: number,
  ): { event: ProbeEvent | undefined; places: ProbePlace[] } {
    sweep(kind);
    const name = `p${process.pid}_${token}_${made++}`;
    const tried: ProbePlace[] = [];
    const lines = places.map((place) => `${letter}:${GROUP}/${name} ${place}`);
    writeProbeEvents(kind, lines, (_line, errno) => tried.push({ place: places[tried.length]!, errno }));
    const taken = tried.filter(({ errno }) => errno === 0).length;
    if (taken === 0) return { event: undefined, places: tried };
    try {
      if (taken > 1 && countPlaces(kind, name) < taken) {
        remove(kind, name);
        return { event: undefined, places: tried };
      }
      const id = tracepointId(GROUP, name);
      // Before 4.12 the kernel knows no maxactive and takes the number for a part of another name.
      if (id === undefined) throw new BCCError('ERR_BCC_ATTACH', `the kernel did not make the event ${GROUP}/${name}`);
      const attr = perfEventAttr({ type: PerfType.TRACEPOINT, config: id, samplePeriod: 1, wakeupEvents: 1 });
      const fd = openProgramEvent(programFd, { attr });
      return { event: new ProbeEvent(kind, name, () => fd.close()), places: tried };
    } catch (error) {
      remove(kind, name);
      throw error;
    }
  }

  /** Takes one place away while the others stay (the event must have another one). */
  removePlace(place: string): void {
    writeProbeEvents(this.kind, [`-:${GROUP}/${this.name} ${place}`], (line, errno) => {
      if (errno !== 0) throw new BCCError('ERR_BCC_ATTACH', `tracefs refused "${line}"`, { errno });
    });
  }

  /** Stops the program and removes the event. */
  release(): void {
    this.close();
    remove(this.kind, this.name);
  }
}

function countPlaces(kind: ProbeEventKind, name: string): number {
  return listProbeEvents(kind).filter((line) => OURS.exec(line)?.[1] === name).length;
}

/** Removes an event with all its places. One that another program has opened meanwhile stays until the next sweep. */
function remove(kind: ProbeEventKind, name: string): void {
  writeProbeEvents(kind, [`-:${GROUP}/${name}`], () => {});
}

/** Removes events whose makers are gone, once a process; the kernel keeps those that are in use after all (EBUSY). */
function sweep(kind: ProbeEventKind): void {
  if (swept.has(kind)) return;
  swept.add(kind);
  const stale = new Set<string>();
  for (const line of listProbeEvents(kind)) {
    const match = OURS.exec(line);
    if (match && !existsSync(`/proc/${match[2]}`)) stale.add(match[1]!);
  }
  for (const name of stale) remove(kind, name);
}
