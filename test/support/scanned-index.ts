// An index of packages in memory, which reads all segments again whenever a publication changes.
import { setImmediate } from "node:timers/promises";
import { compareVersions } from "../../src/debian/version.ts";
import type {
  DependentRow,
  DirectoryCount,
  FoundPackages,
  ListedRow,
  PackageIndex,
  PackageSearch,
  ResolvedName,
  Slice,
} from "../../src/web/data/package-index.ts";
import type { WrittenRelations } from "../../src/web/data/package-texts.ts";
import { readRelationFields } from "../../src/web/data/package-texts.ts";
import type { Publications } from "../../src/web/data/publications.ts";
import { listedSegments, publicPath, uploadOf } from "../../src/web/data/publications.ts";
import type { Cut, Filters } from "../../src/web/data/repository-data.ts";
import { relationFields } from "../../src/web/data/repository-data.ts";
import { stanzaRows, translationsIn } from "../../src/web/data/stanza-rows.ts";

interface Indexed {
  readonly row: ListedRow;
  readonly text: string;
  readonly relations: readonly WrittenRelations[];
}

export class ScannedIndex implements PackageIndex {
  readonly isComplete = true;
  readonly #publications: Publications;
  #state: string | undefined;
  #rows: Promise<readonly Indexed[]> = Promise.resolve([]);

  constructor(publications: Publications) {
    this.#publications = publications;
  }

  async filters(): Promise<Filters> {
    const rows = await this.#all();
    const distinct = (value: (row: ListedRow) => string) => [...new Set(rows.map(({ row }) => value(row)))].toSorted();
    return {
      suites: distinct(({ suite }) => suite),
      components: distinct(({ component }) => component),
      architectures: distinct(({ architecture }) => architecture),
      builders: distinct(({ directory }) => directory),
    };
  }

  async search({ text, sort, skip, limit, ...filter }: PackageSearch): Promise<FoundPackages> {
    const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
    const found = new Map<string, ListedRow[]>();
    for (const { row, text: content } of await this.#all()) {
      if (row.isSource || !isMatching(row, filter) || !words.every((word) => content.includes(word))) continue;
      found.set(row.name, [...(found.get(row.name) ?? []), row]);
    }
    const uploaded = (rows: readonly ListedRow[]) => Math.max(...rows.map(({ uploadedMs }) => uploadedMs));
    const groups = [...found].toSorted(
      ([a, rowsA], [b, rowsB]) => (sort === "time" ? uploaded(rowsB) - uploaded(rowsA) : 0) || (a < b ? -1 : 1),
    );
    return {
      entries: groups.slice(skip, skip + limit).map(([, rows]) => rows),
      total: groups.length,
      hasMoreThanTotal: false,
    };
  }

  async binaries(name: string): Promise<readonly ListedRow[]> {
    return (await this.#all()).map(({ row }) => row).filter((row) => !row.isSource && row.name === name);
  }

  async source(name: string): Promise<{ readonly sources: readonly ListedRow[]; readonly built: Cut<ListedRow> }> {
    const rows = (await this.#all()).map(({ row }) => row).filter(({ source }) => source === name);
    return { sources: rows.filter(({ isSource }) => isSource), built: cut(rows.filter(({ isSource }) => !isSource)) };
  }

  async bySha256(sha256: string): Promise<ListedRow | undefined> {
    return (await this.#all()).find(({ row }) => row.sha256 === sha256)?.row;
  }

  async dependents(names: readonly string[], { skip, limit }: Slice): Promise<Cut<DependentRow>> {
    const found: DependentRow[] = [];
    for (const { row, relations } of await this.#all()) {
      for (const { field, groups } of relations) {
        const on = field === "Provides" ? undefined : groups.flat().find(({ name }) => names.includes(name));
        if (on !== undefined) found.push({ row, field, on: on.name });
      }
    }
    const sorted = found.toSorted(({ row: a }, { row: b }) => (a.name < b.name ? -1 : 1));
    return { entries: sorted.slice(skip, skip + limit), total: found.length };
  }

  async resolve(names: readonly string[]): Promise<ReadonlyMap<string, ResolvedName>> {
    const rows = await this.#all();
    return new Map(
      names.map((name) => {
        const own = rows.filter(({ row }) => !row.isSource && row.name === name);
        const providers = rows.filter(({ relations }) =>
          relations.some(({ field, groups }) => field === "Provides" && groups.flat().some((one) => one.name === name)),
        );
        return [
          name,
          {
            suites: [...new Set(own.map(({ row }) => row.suite))],
            providers: providers.map(({ row }) => ({ name: row.name, suite: row.suite })),
          },
        ];
      }),
    );
  }

  async descriptions(md5s: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = new Map<string, string>();
    for (const suite of this.#publications.current()) {
      for (const { id, kind } of listedSegments(suite.manifest)) {
        if (kind !== "translation") continue;
        for (const { md5, text } of translationsIn(suite.repository.segments.read(id, "plain")))
          if (md5s.includes(md5)) found.set(md5, text);
      }
    }
    return found;
  }

  async uploads({
    skip,
    limit,
    suite,
    directory,
  }: Slice & { readonly suite?: string | undefined; readonly directory?: string | undefined }): Promise<
    Cut<ListedRow>
  > {
    const rows = (await this.#all())
      .map(({ row }) => row)
      .filter((row) => isMatching(row, { suite, builder: directory }));
    return { entries: rows.toSorted(newestFirst).slice(skip, skip + limit), total: rows.length };
  }

  async directories(): Promise<readonly DirectoryCount[]> {
    const counts = new Map<string, { rows: number; uploadedMs: number }>();
    for (const { row } of await this.#all()) {
      const { rows, uploadedMs } = counts.get(row.directory) ?? { rows: 0, uploadedMs: 0 };
      counts.set(row.directory, { rows: rows + 1, uploadedMs: Math.max(uploadedMs, row.uploadedMs) });
    }
    return [...counts].map(([directory, count]) => ({ directory, ...count }));
  }

  async #all(): Promise<readonly Indexed[]> {
    const suites = [...this.#publications.current()];
    const state = suites.map(({ publicName, manifest }) => `${publicName} ${manifest.id}`).join("\n");
    if (state !== this.#state) {
      this.#state = state;
      this.#rows = this.#read();
    }
    return await this.#rows;
  }

  async #read(): Promise<readonly Indexed[]> {
    const rows = new Map<string, Indexed>();
    for (const suite of this.#publications.current()) {
      for (const { id, component, kind, isForInstaller } of listedSegments(suite.manifest)) {
        if (kind === "translation") continue;
        const isSource = kind === "source";
        for (const { row, stanza } of stanzaRows(id, suite.repository.segments.read(id, "plain"), isSource)) {
          const { uploadedMs, directory } = uploadOf(suite, row.path);
          const placed = { suite: suite.publicName, component, isForInstaller, uploadedMs, directory };
          const texts = [
            row.name,
            row.source,
            ...stanza.filter(([name]) => /^(Maintainer|Description)$/i.test(name)).map(([, value]) => value),
          ];
          rows.set([suite.publicName, component, row.path, isForInstaller].join(" "), {
            row: { ...row, ...placed, path: publicPath(suite, row.path) },
            text: texts.join("\n").toLowerCase(),
            relations: isSource ? [] : readRelationFields(stanza, relationFields),
          });
        }
        await setImmediate();
      }
    }
    return [...rows.values()];
  }
}

const cut = (rows: readonly ListedRow[]): Cut<ListedRow> => ({ entries: rows, total: rows.length });

const newestFirst = (a: ListedRow, b: ListedRow): number =>
  b.uploadedMs - a.uploadedMs || (a.name < b.name ? -1 : a.name > b.name ? 1 : compareVersions(b.version, a.version));

function isMatching(
  row: ListedRow,
  filter: {
    suite?: string | undefined;
    component?: string | undefined;
    architecture?: string | undefined;
    builder?: string | undefined;
  },
): boolean {
  const { suite, component, architecture, builder } = filter;
  return (
    (suite === undefined || row.suite === suite) &&
    (component === undefined || row.component === component) &&
    (architecture === undefined || row.architecture === architecture || row.architecture === "all") &&
    (builder === undefined || row.directory === builder || row.directory.startsWith(`${builder}/`))
  );
}
