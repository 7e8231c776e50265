/** The tests of docs/learn/testing.md are tests: they run here as they are on the page. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Url from "node:url"

const root = Url.fileURLToPath(new URL("../..", import.meta.url))

const page = Fs.readFileSync(`${root}docs/learn/testing.md`, "utf8")
const blocks = [...page.matchAll(/^```ts(?: file=(\S+))?\n([^]*?)^```$/gm)]
  .map(([, name, code], index) => ({ file: name ?? `${index}.ts`, code: code! }))
const tests = blocks.filter(({ code }) => code.includes("it.effect"))

Fs.mkdirSync(`${root}test-results`, { recursive: true })
const directory = Fs.mkdtempSync(`${root}test-results/documented-`)

afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

describe("docs/learn/testing.md", () => {
  it("imports nothing that is not in the package, or on the page", () => {
    const imported = blocks.flatMap(({ code }) => [...code.matchAll(/ from "([^"]+)"/g)].map(([, from]) => from!))
    const names = blocks.map(({ file }) => `./${file}`)
    const known = /^(?:effect-milter|effect|@effect\/vitest)(?:\/|$)/
    assert.deepStrictEqual(imported.filter((from) => !known.test(from) && !names.includes(from)), [])
  })

  it("shows a test of at most ten lines", () => {
    assert.isAtMost(tests[0]!.code.trimEnd().split("\n").length, 10)
  })
})

for (const { code, file } of blocks) Fs.writeFileSync(`${directory}/${file}`, code)
for (const { file } of tests) await import(`${directory}/${file}`)
