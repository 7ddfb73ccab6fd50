// Directory entries whose names cannot be part of a path. They are reported, and otherwise ignored.

/** Names that `isEntryName` rejects. */
export interface InvalidNames {
  readonly count: number;
  /** The first of them, cut to `maxShownCharacters` each. */
  readonly examples: readonly string[];
}

const maxShown = 5;
const maxShownCharacters = 80;

/** Collects invalid names while a directory is listed. */
export class InvalidNameCollector {
  #count = 0;
  readonly #first: string[] = [];

  add(name: string): void {
    this.#count += 1;
    if (this.#first.length < maxShown) this.#first.push(name.slice(0, maxShownCharacters));
  }

  /** The property `invalidNames` of a directory, or an empty object if there are none. */
  get asProperty(): { readonly invalidNames?: InvalidNames } {
    return this.#count === 0 ? {} : { invalidNames: { count: this.#count, examples: this.#first } };
  }
}
