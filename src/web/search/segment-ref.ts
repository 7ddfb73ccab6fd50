// Identifies a segment of an index of a suite.
import type { ListedSegment } from "../data/publications.ts";

export interface SegmentRef extends Omit<ListedSegment, "id"> {
  readonly suite: string;
  /** The id of the segment. */
  readonly name: string;
}

/** The same text for the same segment of the same index. */
export const segmentKey = ({ suite, component, kind, isForInstaller, name }: SegmentRef): string =>
  JSON.stringify([suite, component, kind, isForInstaller, name]);
