// One thing that is measured, by its name on the command line.

import type { BenchContext } from "../bench-context.ts";
import type { Row } from "../rows.ts";

export interface Measure {
  readonly name: string;
  measure(bench: BenchContext): Promise<readonly Row[]>;
}
