// Keeps pages small: one that becomes too large is made again with shorter lists.

/** Pages are smaller than this, in bytes. */
const maxPageBytes = 60_000;

/**
 * Renders a page with as much as fits.
 * @param render renders the page with a share of the usual length of its lists
 */
export async function fitting<Html extends string | undefined>(
  render: (share: number) => Html | Promise<Html>,
): Promise<Html> {
  for (let share = 1; ; share /= 2) {
    const html = await render(share);
    if (html === undefined || Buffer.byteLength(html) < maxPageBytes || share < 0.05) return html;
  }
}

/** The length of a list. */
export const lengthAt = (share: number, usual: number): number => Math.max(1, Math.floor(usual * share));
