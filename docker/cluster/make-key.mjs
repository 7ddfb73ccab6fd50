// Creates the signing key that all replicas of the compose file have. Running it again changes nothing.
import { chownSync, existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { TAHOE_APT_DIRECTORY = "/opt/tahoe-apt", SECRETS_DIR = "/secrets", SERVER_UID = "65532" } = process.env;
const { generateKey } = createRequire(`${TAHOE_APT_DIRECTORY}/`)("openpgp");

const file = `${SECRETS_DIR}/signing-key`;
if (!existsSync(file)) {
  const userIDs = [{ name: "Repository signing key" }];
  const options = { type: "rsa", rsaBits: 4096, userIDs, subkeys: [], format: "armored" };
  const { privateKey } = await generateKey(options);
  writeFileSync(file, privateKey, { mode: 0o400 });
  chownSync(file, Number(SERVER_UID), Number(SERVER_UID));
}
