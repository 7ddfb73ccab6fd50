// The kinds of requests that are measured under load.
import { createHash, randomBytes } from "node:crypto";
import { aDeb } from "../support/debs.ts";
import type { Served } from "./bench-context.ts";
import { binaryDirectory, placeDeb } from "./corpus.ts";

/** One kind of requests. */
export interface Kind {
  readonly what: string;
  /** Below the server's root. */
  readonly path: string;
  readonly isConditional: boolean;
  /** How much of plain nginx' rate is asked of ours. */
  readonly share: number;
}

/** Loads are short and many, since they vary more than anything else here. */
export const loadRounds = 5;
const packageBytes = 1_000_000;

export async function kindsOf({ server, packages }: Served): Promise<readonly Kind[]> {
  const files = { "./usr/share/large/noise": randomBytes(packageBytes) };
  const bytes = await aDeb({ package: "large", version: "1.0-1", architecture: "amd64", files, compression: "none" });
  placeDeb(packages, "large_1.0-1_amd64.deb", bytes);
  await server.ping(`${binaryDirectory}/large_1.0-1_amd64.deb`);
  const packageSha256 = createHash("sha256").update(bytes).digest("hex");
  const release = (await server.get("dists/sid/InRelease")).body.toString();
  const gzSha256 = /^ ([0-9a-f]{64}) +\d+ main\/binary-amd64\/Packages\.gz$/m.exec(release)?.[1];
  const inRelease = "debian/dists/sid/InRelease";
  const byHash = `debian/dists/sid/main/binary-amd64/by-hash/SHA256/${gzSha256}`;
  const pooled = `debian/pool/SHA256/${packageSha256}/large_1.0-1_amd64.deb`;
  return [
    { what: "InRelease", path: inRelease, isConditional: false, share: 0.25 },
    { what: "InRelease, not modified (304)", path: inRelease, isConditional: true, share: 0.25 },
    { what: "Packages.gz by hash", path: byHash, isConditional: false, share: 0.5 },
    { what: "a package of 1 MB from the cache", path: pooled, isConditional: false, share: 0.5 },
  ];
}
