// What every other repository tool must do to be measured: hold a corpus, and add one package to it.
import type { Tool } from "../tools.ts";

export interface PeerSurroundings {
  /** A directory of its own, empty. */
  readonly directory: string;
  /** The directory of packages; it also receives every new one. */
  readonly packages: string;
  readonly count: number;
  /** Kept between runs, for what takes long to prepare. */
  readonly kept: string;
  readonly signal: AbortSignal;
}

/** A repository of the corpus in another tool. */
export interface PeerRepository {
  /** Makes this package, which lies in the corpus by now, installable. @returns seconds */
  add(deb: string): Promise<number>;
  /** The text of Packages as published. */
  packages(): string;
}

export interface Peer {
  readonly name: string;
  readonly tool: Tool;
  open(surroundings: PeerSurroundings): Promise<PeerRepository>;
}
