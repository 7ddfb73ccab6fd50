// The messages between the main thread and a worker that inspects files.
import type { LocalFileLocation } from "../../storage/local-file.ts";
import type { Inspection, PackageKind } from "./inspection.ts";

/** A local file for a worker to read and inspect. */
export interface LocalInspectionRequest {
  readonly kind: PackageKind;
  readonly location: LocalFileLocation;
  /** Whether the result has the bytes, too. */
  readonly returnsContent: boolean;
}

/** The result for one local file. */
export interface LocalInspectionResult {
  /** Undefined if the file could not be read, or is no longer the same. */
  readonly inspection: Inspection | undefined;
  /** The duration of the read, and the number of bytes. */
  readonly seconds: number;
  readonly bytes: number;
  readonly content?: Uint8Array<ArrayBuffer>;
}

/** Messages to the worker. `id` identifies one job of this worker. */
export type ToWorker =
  | { readonly type: "whole"; readonly id: number; readonly kind: PackageKind; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: "files"; readonly id: number; readonly files: readonly LocalInspectionRequest[] }
  | { readonly type: "open"; readonly id: number; readonly kind: PackageKind }
  | { readonly type: "chunk"; readonly id: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: "end"; readonly id: number }
  | { readonly type: "abandon"; readonly id: number }
  /** The last message: the worker ends when its running inspections have ended. */
  | { readonly type: "close" };

/** Messages from the worker. `consumed` returns credit for a number of bytes. */
export type FromWorker =
  | { readonly type: "consumed"; readonly id: number; readonly sizeBytes: number }
  | { readonly type: "done"; readonly id: number; readonly inspection: Inspection }
  | { readonly type: "read"; readonly id: number; readonly files: readonly LocalInspectionResult[] }
  | { readonly type: "failed"; readonly id: number; readonly message: string };
