// What is stored in Valkey can be read and made only by servers of the same fleet.
import { describe, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { Sealing } from "../../src/cluster/sealing.ts";

const secret = new Secret("URI:DIR2-RO:a:b");
const value = Buffer.from("a cap and other things");

describe("a value in Valkey", () => {
  test("opens under the name under which it was sealed", () => {
    const sealing = new Sealing(secret, "debian");
    expect(sealing.open("one", sealing.seal("one", value))).toEqual(value);
    expect(sealing.open("two", sealing.seal("one", value))).toBeUndefined();
  });

  test("does not show what it contains", () => {
    expect(new Sealing(secret, "debian").seal("one", value).includes("cap")).toBe(false);
  });

  test("opens only with the secret and for the purpose with which it was sealed", () => {
    const sealed = new Sealing(secret, "debian").seal("one", value);
    expect(new Sealing(new Secret("another"), "debian").open("one", sealed)).toBeUndefined();
    expect(new Sealing(secret, "ubuntu").open("one", sealed)).toBeUndefined();
  });

  test("does not open if any bit of it was changed, or if it was cut", () => {
    const sealing = new Sealing(secret, "debian");
    const sealed = sealing.seal("one", value);
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(sealing.open("one", changed)).toBeUndefined();
      expect(sealing.open("one", sealed.subarray(0, at))).toBeUndefined();
    }
  });
});
