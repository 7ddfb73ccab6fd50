// Entries of a directory whose names no path can have: they are told of, and nothing else is made of them.

/** Names that `isEntryName` refuses. */
export interface InvalidNames {
  readonly count: number;
  /** The first of them, not longer than `maxShownCharacters` each. */
  readonly first: readonly string[];
}

const maxShown = 5;
const maxShownCharacters = 80;

/** Gathers them while a directory is listed. */
export class InvalidNameCollector {
  #count = 0;
  readonly #first: string[] = [];

  add(name: string): void {
    this.#count += 1;
    if (this.#first.length < maxShown) this.#first.push(name.slice(0, maxShownCharacters));
  }

  /** For a directory; nothing where there are none. */
  get asProperty(): { readonly invalidNames?: InvalidNames } {
    return this.#count === 0 ? {} : { invalidNames: { count: this.#count, first: this.#first } };
  }
}
