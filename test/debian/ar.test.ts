// The time in an ar header, which becomes the Last-Modified of a .deb.
import { expect, test } from "vitest";
import { readAr } from "../../src/debian/ar.ts";
import { arOf, inChunks } from "../support/debs.ts";

test("a time that no HTTP date can express is a flaw", async () => {
  const last = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;
  const firstOf = async (mtimeSeconds: number) => {
    const archive = arOf([{ name: "debian-binary", content: "2.0\n" }], mtimeSeconds);
    for await (const member of readAr(inChunks(archive), { maxArMembers: 1 })) return member;
    return undefined;
  };
  expect((await firstOf(last))?.mtimeSeconds).toBe(last);
  await expect(firstOf(last + 1)).rejects.toMatchObject({ flaw: "not-a-deb" });
});
