// What the main thread and an inspecting worker say to each other.
import type { LocalFileLocation } from "../../storage/local-file.ts";
import type { Inspection, PackageKind } from "./inspection.ts";

/** A file that a worker is to read by itself. */
export interface LocalInspectionRequest {
  readonly kind: PackageKind;
  readonly location: LocalFileLocation;
}

/** What became of it. */
export interface LocalInspectionResult {
  /** Undefined where it could not be read as what it should be. */
  readonly inspection: Inspection | undefined;
  /** How long the storage took, and how much it gave. */
  readonly seconds: number;
  readonly bytes: number;
}

/** To the worker. `id` names one inspection on one worker. */
export type ToWorker =
  | { readonly type: "whole"; readonly id: number; readonly kind: PackageKind; readonly bytes: Uint8Array }
  | { readonly type: "files"; readonly id: number; readonly files: readonly LocalInspectionRequest[] }
  | { readonly type: "open"; readonly id: number; readonly kind: PackageKind }
  | { readonly type: "chunk"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly id: number }
  | { readonly type: "abandon"; readonly id: number }
  /** The last one: it ends once it has done what it is at. */
  | { readonly type: "close" };

/** From the worker. `taken` gives credit for as many bytes back. */
export type FromWorker =
  | { readonly type: "taken"; readonly id: number; readonly sizeBytes: number }
  | { readonly type: "done"; readonly id: number; readonly inspection: Inspection }
  | { readonly type: "read"; readonly id: number; readonly files: readonly LocalInspectionResult[] }
  | { readonly type: "failed"; readonly id: number; readonly message: string };
