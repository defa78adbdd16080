// Additions to the page cache: which file, at which place.
#include <linux/pagemap.h>
#include <linux/fs.h>

struct key_t {
  u64 inode, megabyte;
};
BPF_HASH(pages, struct key_t);

int on_add(struct pt_regs *ctx, struct address_space *mapping, struct page *page, pgoff_t index) {
  struct inode *host = mapping->host;
  if (!host)
    return 0;
  struct key_t key = {};
  key.inode = host->i_ino;
  key.megabyte = (index << PAGE_SHIFT) >> 20;
  unsigned long cached = mapping->nrpages;
  if (cached > 0)
    pages.increment(key);
  return 0;
}

int on_added(struct pt_regs *ctx, struct folio *folio) {
  struct page *second = folio_page(folio, 1);
  struct key_t key = {};
  key.inode = (u64)second;
  pages.increment(key);
  return 0;
}
