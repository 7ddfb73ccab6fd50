// The thread of the index of packages. It answers requests in their order: queries, and the changes of publications.
import { createHash } from "node:crypto";
import v8 from "node:v8";
import { parentPort } from "node:worker_threads";
import { lowerThreadPriority } from "../../base/background-thread.ts";
import { messageOf } from "../../base/errors.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { fieldOf } from "../../debian/stanza.ts";
import { readRelationFields } from "../data/package-texts.ts";
import { relationFields } from "../data/repository-data.ts";
import { shortened } from "../data/shortened.ts";
import type { Translation } from "../data/stanza-rows.ts";
import { stanzaRows, translationsIn } from "../data/stanza-rows.ts";
import type { IndexDatabase as Database, IndexedStanza } from "./index-database.ts";
import type { IndexAnswer, IndexRequest } from "./index-messages.ts";
import type { SqlQueries as Queries } from "./index-queries.ts";
import { segmentKey } from "./segment-ref.ts";

lowerThreadPriority();
// Optimising the functions of SQLite takes 30 to 40 MB, which are not returned, and makes no query faster.
v8.setFlagsFromString("--liftoff-only");
const { dependingFields, IndexDatabase } = await import("./index-database.ts");
const { SqlQueries } = await import("./index-queries.ts");

/** The most relations of one field that are indexed. */
const maxIndexedRelations = 2000;

interface Opened {
  readonly db: Database;
  readonly queries: Queries;
  /** The segment that was parsed last. */
  parsed:
    | ({ readonly key: string } & (
        | { readonly stanzas: readonly IndexedStanza[] }
        | { readonly translations: readonly Translation[] }
      ))
    | undefined;
}

const databases = new Map<string, Opened>();

function opened(file: string): Opened {
  const known = databases.get(file);
  if (known !== undefined) return known;
  const db = IndexDatabase.open(file);
  const found: Opened = { db, queries: new SqlQueries(db), parsed: undefined };
  databases.set(file, found);
  return found;
}

function answer(request: IndexRequest): unknown {
  if (request.kind === "close") {
    databases.get(request.file)?.db.close();
    databases.delete(request.file);
    return undefined;
  }
  const at = opened(request.file);
  switch (request.kind) {
    case "query": {
      const query = at.queries[request.query] as (...parameters: readonly unknown[]) => unknown;
      return query.apply(at.queries, [...request.parameters]);
    }
    case "suites":
      return at.db.suites();
    case "state":
      return at.db.stateOf(request.suite);
    case "parse": {
      const { segment, bytes, prefix } = request;
      if (segment.kind === "translation") {
        at.parsed = { key: segmentKey(segment), translations: [...translationsIn(bytes)] };
        return [];
      }
      const rows = [...stanzaRows(segment.name, bytes, segment.kind === "source")];
      const stanzas = rows.map(({ row, stanza }) => {
        const hash = createHash("sha256").update(bytes.subarray(row.place.start, row.place.end)).digest();
        return { ...indexedStanza({ ...row, path: `${prefix}${row.path}` }, stanza), hash };
      });
      at.parsed = { key: segmentKey(segment), stanzas };
      return rows.map(({ row }) => row.path);
    }
    case "add": {
      const { segment, uploads } = request;
      if (at.parsed?.key !== segmentKey(segment)) throw new Error("the segment was not parsed");
      if ("translations" in at.parsed) at.db.addTranslations(segment, at.parsed.translations);
      else at.db.add(segment, at.parsed.stanzas, uploads);
      at.parsed = undefined;
      at.queries.changed();
      return undefined;
    }
    case "finish":
      at.db.finish(request.suite, request.publication, request.kept);
      at.queries.changed();
      return undefined;
    default:
      return request satisfies never;
  }
}

function indexedStanza(row: IndexedStanza["row"], stanza: Stanza): Omit<IndexedStanza, "hash"> {
  const written = new Map(
    row.isSource ? [] : readRelationFields(stanza, relationFields).map((one) => [one.field, one]),
  );
  const namesIn = (field: (typeof relationFields)[number]): readonly string[] => {
    const names = written.get(field)?.groups.flatMap((group) => group.map(({ name }) => name)) ?? [];
    return [...new Set(names)].slice(0, maxIndexedRelations);
  };
  return {
    row,
    maintainer: shortened(fieldOf(stanza, "Maintainer") ?? ""),
    description: fieldOf(stanza, "Description") ?? "",
    descriptionMd5: fieldOf(stanza, "Description-md5"),
    relations: new Map(dependingFields.map((field) => [field, namesIn(field)])),
    provides: namesIn("Provides"),
  };
}

/** Deletes a database that is corrupt. @returns whether it was */
function reset(file: string, failure: string): boolean {
  if (!/malformed|not a database|corrupt/i.test(failure)) return false;
  const at = databases.get(file);
  databases.delete(file);
  try {
    at?.db.close();
  } catch {
    // Its file is deleted anyway.
  }
  IndexDatabase.remove(file);
  return true;
}

parentPort?.on("message", ({ number, request }: { readonly number: number; readonly request: IndexRequest }) => {
  const send = (message: IndexAnswer): void => parentPort?.postMessage(message);
  try {
    send({ number, result: answer(request) });
  } catch (thrown) {
    const failure = messageOf(thrown);
    send({ number, failure, isReset: reset(request.file, failure) });
  }
});
