// Identifies a segment of an index of a suite.

export interface SegmentRef {
  readonly suite: string;
  readonly component: string;
  readonly isSource: boolean;
  readonly isForInstaller: boolean;
  /** The id of the segment. */
  readonly name: string;
}

/** The same text for the same segment of the same index. */
export const segmentKey = ({ suite, component, isSource, isForInstaller, name }: SegmentRef): string =>
  JSON.stringify([suite, component, isSource, isForInstaller, name]);
