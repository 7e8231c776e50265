/** The tests of docs/learn/testing.md are tests: they run here as they are on the page. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Url from "node:url"

const root = Url.fileURLToPath(new URL("../..", import.meta.url))

const blocks = [...Fs.readFileSync(`${root}docs/learn/testing.md`, "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)]
  .map(([, code]) => code!)
  .filter((code) => code.includes("it.effect"))

Fs.mkdirSync(`${root}test-results`, { recursive: true })
const directory = Fs.mkdtempSync(`${root}test-results/documented-`)

afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

describe("docs/learn/testing.md", () => {
  it("shows a test of at most ten lines", () => {
    assert.isAtMost(blocks[0]!.trimEnd().split("\n").length, 10)
  })
})

for (const [index, code] of blocks.entries()) {
  const file = `${directory}/${index}.ts`
  // The page links to the examples from its own place.
  Fs.writeFileSync(file, code.replaceAll(`"../../examples/`, `"${root}examples/`))
  await import(file)
}
