// The addresses of pages, relative to the page that links to them, so that they work below any prefix of a proxy.

/** A query of the list of packages. */
export type QueryValues = Readonly<Record<string, string | number | undefined>>;

const encodePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

export class Links {
  /** The front page of the server, e.g. `../../`. */
  readonly root: string;
  /** The page of the repository, e.g. `../../debian/`. */
  readonly home: string;

  /**
   * @param root the path from the current page to the front page: `./`, or `../` as often as needed
   * @param repository the name of the repository
   */
  constructor(root: string, repository: string) {
    this.root = root;
    this.home = `${root}${repository}/`;
  }

  packages(values: QueryValues = {}): string {
    return this.page("packages", values);
  }

  package(name: string): string {
    return `${this.home}-/packages/${encodeURIComponent(name)}`;
  }

  source(name: string): string {
    return `${this.home}-/sources/${encodeURIComponent(name)}`;
  }

  /** @param directory the path of the builder's directory in the tree */
  builder(directory: string): string {
    return `${this.home}-/builders/${encodePath(directory)}`;
  }

  /** The page of this name, without its empty parameters. */
  page(name: string, values: QueryValues = {}): string {
    return `${this.home}-/${name}${queryOf(values)}`;
  }

  /** The feed of uploads. @param suite its public name; undefined: all suites */
  feed(suite?: string): string {
    // In a path, the dot of a flat repository's public name would be lost.
    if (suite === undefined || suite.startsWith("./")) return this.page("feed.atom", { suite });
    return `${this.home}-/feeds/${encodePath(suite)}.atom`;
  }

  /** The image with the version of a package. */
  badge(name: string): string {
    return `${this.home}-/badge/${encodeURIComponent(name)}.svg`;
  }

  /** A file or directory below the repository's root. @param path unescaped */
  file(path: string): string {
    return `${this.home}${encodePath(path)}`;
  }
}

/** A query string with its question mark; "" without values. */
export function queryOf(values: QueryValues): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && value !== "") parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}
