// The digests that indices and Release carry.

/** The algorithms in the order of their strength, weakest first. */
export const digestAlgorithms = ["md5", "sha1", "sha256", "sha512"] as const;
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

/** Lower-case hex by algorithm. SHA256 is always there: it names content. */
export type Digests = { readonly sha256: string } & { readonly [Algorithm in DigestAlgorithm]?: string };
