// Checks objects of a Tahoe tree with a gateway's webapi.
import { z } from "zod";
import type { TreePath } from "../../base/names.ts";
import { pathNames } from "../../base/names.ts";
import type { CheckOptions, Health, HealthCheck } from "../health.ts";
import type { FileRef } from "../tree.ts";
import { ContentGone, StorageUnavailable } from "../tree.ts";
import type { ReadCap, WriteCap } from "./caps.ts";
import { immutableFileBytes } from "./caps.ts";
import type { Webapi } from "./webapi.ts";
import { textOf } from "./webapi.ts";

/** The maximum size of a response in bytes; it contains every server and share. */
const maxCheckResponseBytes = 16 * 1024 * 1024;

/** @see Tahoe-LAFS, docs/frontends/webapi.rst, "Debugging and Testing Features": t=check */
export class WebapiHealthCheck implements HealthCheck {
  readonly #webapi: Webapi;
  readonly #cap: ReadCap | WriteCap;

  constructor(webapi: Webapi, cap: ReadCap | WriteCap) {
    this.#webapi = webapi;
    this.#cap = cap;
  }

  async check(object: FileRef, { verify, repair }: CheckOptions, signal: AbortSignal): Promise<Health> {
    const found = healthOf(await this.#requestCheck(object, `verify=${verify}`, signal), object.path);
    if (!repair || found.state !== "unhealthy") return found;
    // A failed repair leaves the object unchanged; the second check reports its state.
    await this.#requestCheck(object, `verify=${verify}&repair=true`, signal).catch((thrown: unknown) => {
      if (!(thrown instanceof StorageUnavailable)) throw thrown;
      signal.throwIfAborted();
    });
    const after = healthOf(await this.#requestCheck(object, `verify=${verify}`, signal), object.path);
    return { ...after, repaired: after.state === "healthy" };
  }

  async #requestCheck({ path, content }: FileRef, how: string, signal: AbortSignal): Promise<string> {
    const cap = content?.reveal();
    if (cap !== undefined && immutableFileBytes(cap) === undefined) throw new ContentGone(path);
    const response = await this.#webapi.request(
      {
        method: "POST",
        names: cap === undefined ? [this.#cap.reveal(), ...pathNames(path)] : [cap],
        query: `t=check&output=JSON&add-lease=true&${how}`,
        timeoutMs: this.#webapi.limits.writeTimeoutMs,
        path,
      },
      signal,
    );
    if (response.status === 200) {
      return textOf(response, {
        bytes: maxCheckResponseBytes,
        what: "the size of the response to a check in bytes",
      });
    }
    response.close();
    if (response.status === 404 && cap === undefined) throw new ContentGone(path);
    const why = `the gateway responded to a check with status ${response.status}`;
    throw new StorageUnavailable(path, why, { transient: response.status >= 500 });
  }
}

/** For an object with a literal cap, which has no shares, Tahoe reports `healthy` only. */
const checkResponse = z.object({
  "storage-index": z.string(),
  results: z.object({
    healthy: z.boolean(),
    recoverable: z.unknown().optional(),
    "count-shares-good": z.unknown().optional(),
    "count-shares-needed": z.unknown().optional(),
    "count-shares-expected": z.unknown().optional(),
  }),
});

/** @throws StorageUnavailable, which quotes nothing of the response */
function healthOf(text: string, path: TreePath): Health {
  const parsed = checkResponse.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new StorageUnavailable(path, "the gateway sent an invalid response to a check", { transient: false });
  }
  const { "storage-index": storageIndex, results } = parsed.data;
  const good = Number(results["count-shares-good"]);
  const needed = Number(results["count-shares-needed"]);
  const expected = Number(results["count-shares-expected"]);
  return {
    state: results.healthy ? "healthy" : results.recoverable === true ? "unhealthy" : "lost",
    storageIndex,
    shares: storageIndex === "" ? undefined : { good, needed, expected },
    repaired: false,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
