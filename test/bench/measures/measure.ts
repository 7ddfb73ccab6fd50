// One thing that is measured, by its name on the command line.
import type { Row } from "../rows.ts";
import type { Workshop } from "../workshop.ts";

export interface Measure {
  readonly name: string;
  measure(workshop: Workshop): Promise<readonly Row[]>;
}
