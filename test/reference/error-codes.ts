// The reference of error codes and of the codes of rejects, from the tables in the code.
import type { ErrorCode } from "../../src/base/error-codes.ts";
import { errorCodes } from "../../src/base/error-codes.ts";
import { errorStatuses } from "../../src/http/error-responses.ts";
import { rejectAdvice } from "../../src/web/data/reject-advice.ts";
import type { Page } from "./markdown.ts";
import { code, prose, table } from "./markdown.ts";

const intro = `
An error has a stable code \`AREA/CASE\`. It is in HTTP responses (\`STATUS CODE: TEXT\`, and \`code\` in the problems of the
API), in the output of \`--json\`, in the log, and in the label \`code\` of metrics. Program against codes, never against
texts.
`;

const statusNote = `
A response with status 500 shows \`server/internal\` in place of the code, and no text: the log has both. – stands for such
codes, which no HTTP response shows. Responses with 5xx have \`Retry-After\`. Only an absent file is 404, because apt takes
that as final.
`;

const rejectsIntro = `
A package that cannot be listed is not an error but a reject: pings, \`put\`, the page \`/NAME/-/rejects\`, the API and the
metric \`tahoe_apt_rejects_total\` name its code, and a text says what is wrong in this file.
`;

export function errorCodesPage(): Page {
  const codes = Object.keys(errorCodes) as ErrorCode[];
  const shown = (status: number, one: ErrorCode) =>
    status === 500 && one !== "server/internal" ? "–" : String(status);
  const rows = codes.map((one) => [
    code(one),
    shown(errorStatuses[one], one),
    errorCodes[one].meaning,
    errorCodes[one].advice,
  ]);
  const rejects = Object.entries(rejectAdvice).map(([one, advice]) => [code(one), advice]);
  return {
    file: "error-codes.md",
    title: "Error codes",
    contents: "every error code with its HTTP status, meaning and remedy, and every code of a rejected package",
    madeFrom: "src/base/error-codes.ts, src/http/error-responses.ts and src/web/data/reject-advice.ts",
    body: [
      prose(intro),
      prose(statusNote),
      table(["code", "status", "meaning", "what to do"], rows),
      "## Rejected packages",
      prose(rejectsIntro),
      table(["code", "what to do"], rejects),
    ].join("\n\n"),
  };
}
