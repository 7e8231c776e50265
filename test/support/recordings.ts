/**
 * The recorded sessions of Postfix 3.7 and Sendmail 8.17 under test/fixtures, and in folders there those of later releases,
 * as scripts/recordMtas.ts made them: `postfix-3.10/postfix-helo-only`.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Recording from "../../src/Recording.ts"

const directory = new URL("../fixtures/recordings/", import.meta.url)

const namesIn = (folder: string): ReadonlyArray<string> =>
  Fs.readdirSync(new URL(folder, directory)).filter((file) => file.endsWith(".jsonl"))
    .map((file) => `${folder}${file.replace(".jsonl", "")}`)

export const names: ReadonlyArray<string> = namesIn("")

/** Later releases, as folders are called. */
export const releases: ReadonlyArray<string> = Fs.readdirSync(directory, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .toSorted()

/** The recordings of a later release. */
export const namesOf = (release: string): ReadonlyArray<string> => namesIn(`${release}/`)

export const text = (name: string): string => Fs.readFileSync(new URL(`${name}.jsonl`, directory), "utf8")

/** Its connections. */
export const connections = (name: string): ReadonlyArray<Recording.Connection> =>
  Recording.connections(Result.getOrThrow(Recording.parse(text(name))))
