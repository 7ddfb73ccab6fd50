// Prints the section of CHANGELOG.md for a tag, for the release workflow: `node .github/release-notes.mjs v1.2.3`.
// Fails if package.json has another version, or if CHANGELOG.md has no such section or calls it unreleased.
import { readFileSync } from "node:fs";

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");

const [tag = ""] = process.argv.slice(2);
const { version } = JSON.parse(read("package.json"));
const sections = read("CHANGELOG.md").split(/^## /m).slice(1);
const section = sections.find((text) => text.startsWith(`${version} `) || text.startsWith(`${version}\n`));

function mistake() {
  if (tag !== `v${version}`) return `the tag ${tag} is not v${version}, the version in package.json`;
  if (section === undefined) return `CHANGELOG.md has no section ${version}`;
  const title = section.slice(0, section.indexOf("\n"));
  return /\d{4}-\d{2}-\d{2}$/.test(title) ? undefined : `the section "${title}" of CHANGELOG.md has no date`;
}

const found = mistake();
if (found === undefined) process.stdout.write(section.slice(section.indexOf("\n")).trimStart());
else {
  process.stderr.write(`release-notes: ${found}\n`);
  process.exitCode = 1;
}
