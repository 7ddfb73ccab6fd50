// Advice for builders about each code of a reject.
import type { RejectCode } from "../../catalog/inspection/inspection.ts";

export const rejectAdvice = {
  "not-a-deb": "Build the package again, and upload the .deb as the tool wrote it.",
  truncated: "The upload was not complete. Upload the file again.",
  "bad-control": "Correct the control file as the reason says, and build the package again.",
  "bad-data": "The archive of files in the package is damaged. Build the package again.",
  "bad-dsc": "Correct the .dsc as the reason says, for example by building the source package again.",
  "bad-compression": "The compressed data is damaged. Build the package again, or upload it again.",
  "unsupported-compression": "Build the package with xz or gzip (dpkg-deb -Zxz), or ask the operator to install zstd.",
  limit: "Make the package smaller, or ask the operator to raise the limit that the reason names.",
  "wrong-place": "Move the file to the directory of its architecture, or of source packages.",
  mismatch: "The file differs from what its source package or its metadata says. Upload all files again.",
  conflict: "Another file with this name, version and architecture was uploaded later. Increase the version.",
  "not-owner": "This name belongs to another builder. Choose another name, or ask the operator to change the owners.",
  incomplete: "Upload the missing files beside the .dsc.",
  absent: "The file is linked, but the storage no longer has it. Upload it again.",
  "bad-name": "Rename the file to NAME_VERSION_ARCHITECTURE.deb, without special characters.",
  "not-a-file": "Only files can be packages. Remove this entry, or replace it by a file.",
  unreadable: "The storage cannot be read now. The server tries again; ask the operator if it lasts.",
} as const satisfies Record<RejectCode, string>;
