// Inspections as values in Valkey: a format version, the compressed inspection, and then the list of the package's files.
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Inspection } from "../catalog/inspection/inspection.ts";
import type { Sealing } from "./sealing.ts";

/** A later version of the program may use another one: such values count as missing. */
const format = 1;
const headBytes = 5;

/** A list of files up to this size, as it is compressed, is stored with its inspection. */
const maxListBesideBytes = 64 * 1024;

/** Far above the longest inspection, which the limits of stanzas bound. */
const maxPlainBytes = 64 * 1024 * 1024;
/** Most inspections are shorter than 4 kB, where a higher level saves nothing. */
const deflateLevel = 1;

/** An inspection, and which version of the program has made it. */
interface Stored {
  readonly by: string;
  readonly inspection: Inspection;
  /** Whether the list of files is stored under a key of its own. */
  readonly hasOwnList: boolean;
}

/** The values that stand for one inspection. */
export interface InspectionValues {
  readonly inspection: Buffer;
  /** Undefined if there is no list, or it is in the other value. */
  readonly fileList: Buffer | undefined;
}

/** @param name the name of the key @param by the version of this program */
export function sealInspection(sealing: Sealing, name: string, by: string, whole: Inspection): InspectionValues {
  const { fileList, ...inspection } = whole.kind === "binary" ? whole : { ...whole, fileList: undefined };
  const hasOwnList = fileList !== undefined && fileList.byteLength > maxListBesideBytes;
  const stored: Stored = { by, inspection, hasOwnList };
  const deflated = deflateRawSync(JSON.stringify(stored), { level: deflateLevel });
  const head = Buffer.alloc(headBytes);
  head.writeUInt8(format);
  head.writeUInt32BE(deflated.length, 1);
  const beside = hasOwnList || fileList === undefined ? [] : [fileList];
  return {
    inspection: sealing.seal(`inspection/${name}`, Buffer.concat([head, deflated, ...beside])),
    fileList: hasOwnList ? sealing.seal(`filelist/${name}`, fileList) : undefined,
  };
}

/** @returns undefined for a value of another fleet or format, and for one that was changed */
export function openInspection(
  sealing: Sealing,
  name: string,
  value: Buffer,
): { readonly inspection: Inspection; readonly hasOwnList: boolean } | undefined {
  const plain = sealing.open(`inspection/${name}`, value);
  if (plain === undefined || plain.length < headBytes || plain[0] !== format) return undefined;
  const listAt = headBytes + plain.readUInt32BE(1);
  try {
    const json = inflateRawSync(plain.subarray(headBytes, listAt), { maxOutputLength: maxPlainBytes });
    const { inspection, hasOwnList } = JSON.parse(json.toString()) as Stored;
    if (!isInspection(inspection)) return undefined;
    const isListBeside = inspection.kind === "binary" && listAt < plain.length;
    // A copy, because the rest of the value is not needed any more.
    const whole = isListBeside ? { ...inspection, fileList: Buffer.from(plain.subarray(listAt)) } : inspection;
    return { inspection: whole, hasOwnList };
  } catch {
    return undefined;
  }
}

/** @returns undefined for a value of another fleet, and for one that was changed */
export const openFileList = (sealing: Sealing, name: string, value: Buffer): Buffer | undefined =>
  sealing.open(`filelist/${name}`, value);

/** Whether a value has what every inspection has. A member of the fleet has made it, but perhaps of another version. */
function isInspection(value: Inspection): boolean {
  switch (value.kind) {
    case "rejected":
      return typeof value.code === "string" && typeof value.text === "string";
    case "binary":
      return isMeasured(value) && isStanza(value.control) && Number.isSafeInteger(value.builtAtSeconds);
    case "source":
      return isMeasured(value) && isStanza(value.dsc) && Array.isArray(value.parts);
    case "part":
      return isMeasured(value);
    default:
      value satisfies never;
      return false;
  }
}

const isMeasured = ({ sizeBytes, digests }: Exclude<Inspection, { kind: "rejected" }>): boolean =>
  Number.isSafeInteger(sizeBytes) && /^[0-9a-f]{64}$/.test(digests.sha256);

const isStanza = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((field) => Array.isArray(field) && field.every((part) => typeof part === "string"));
