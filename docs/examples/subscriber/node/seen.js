// The ids of the events handled last, kept in a file so that a restart knows them, too.
//
// It serves one process. Where several share the work, or handling writes to a database, keep the
// ids in that database.

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";

/**
 * So many ids are remembered at least, and twice as many at most. With one event at a time, the one
 * delivered again is nearly always the last.
 */
const REMEMBERED_MIN = 10_000;

/** A bounded memory. */
export class Seen {
  /** @param {string} path */
  constructor(path) {
    this.path = path;
    // A Set keeps the order in which its values came.
    this.ids = new Set(existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : []);
    this.#shorten();
  }

  /** @param {string} id */
  has(id) {
    return this.ids.has(id);
  }

  /**
   * Remembers an event; it is on disk when this returns.
   * @param {string} id
   */
  add(id) {
    this.ids.add(id);
    writeLines(this.file, [id]);
    if (this.ids.size >= 2 * REMEMBERED_MIN) {
      closeSync(this.file);
      this.#shorten();
    }
  }

  /** Forgets the oldest, in a new file that takes the old one's place at once or not at all. */
  #shorten() {
    this.ids = new Set([...this.ids].slice(-REMEMBERED_MIN));
    const file = openSync(`${this.path}.new`, "w");
    writeLines(file, [...this.ids]);
    closeSync(file);
    renameSync(`${this.path}.new`, this.path);
    this.file = openSync(this.path, "a");
  }
}

/**
 * @param {number} file
 * @param {string[]} lines
 */
function writeLines(file, lines) {
  writeSync(file, lines.map((line) => `${line}\n`).join(""));
  fsyncSync(file);
}
