/** The recorded sessions of Postfix 3.7 and Sendmail 8.17 under test/fixtures. */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Recording from "../../src/Recording.ts"

const directory = new URL("../fixtures/recordings/", import.meta.url)

export const names: ReadonlyArray<string> = Fs.readdirSync(directory)
  .filter((file) => file.endsWith(".jsonl"))
  .map((file) => file.replace(".jsonl", ""))

export const text = (name: string): string => Fs.readFileSync(new URL(`${name}.jsonl`, directory), "utf8")

/** Its connections. */
export const connections = (name: string): ReadonlyArray<Recording.Connection> =>
  Recording.connections(Result.getOrThrow(Recording.parse(text(name))))
