// What the main thread and an inspecting worker say to each other.
import type { Inspection, PackageKind } from "./inspection.ts";

/** To the worker. `id` names one inspection on one worker. */
export type ToWorker =
  | { readonly type: "whole"; readonly id: number; readonly kind: PackageKind; readonly bytes: Uint8Array }
  | { readonly type: "open"; readonly id: number; readonly kind: PackageKind }
  | { readonly type: "chunk"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly id: number }
  | { readonly type: "abandon"; readonly id: number };

/** From the worker. `taken` gives credit for as many bytes back. */
export type FromWorker =
  | { readonly type: "taken"; readonly id: number; readonly sizeBytes: number }
  | { readonly type: "done"; readonly id: number; readonly inspection: Inspection }
  | { readonly type: "failed"; readonly id: number; readonly message: string };
