// How the addresses of a server are shown.
import { hostname } from "node:os";
import { expect, test } from "vitest";
import { addressForOthers } from "../../src/server/addresses.ts";

const local = { host: "127.0.0.1", port: 8380 };

test("a server is known by an address that other machines reach, wherever that is in the list", () => {
  expect(addressForOthers([local, { host: "::1", port: 8380 }, { host: "192.0.2.1", port: 80 }])).toBe("192.0.2.1:80");
  expect(addressForOthers([{ host: "2001:db8::1", port: 80 }, local])).toBe("[2001:db8::1]:80");
});

test("a server that listens everywhere is known by the name of its machine", () => {
  for (const host of ["0.0.0.0", "::"]) expect(addressForOthers([local, { host, port: 80 }])).toBe(`${hostname()}:80`);
});

test("a server that only its own machine reaches is known by its first address", () => {
  expect(addressForOthers([local, { host: "::1", port: 8381 }])).toBe("127.0.0.1:8380");
});
