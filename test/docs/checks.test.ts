/** The checks of the documentation find what they are for. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { checkFirstLines, checkWording } from "../../scripts/docs/comments.ts"
import { checkExamples } from "../../scripts/docs/examples.ts"
import { checkLinks } from "../../scripts/docs/links.ts"
import { missingFrom, stepsOf } from "../../scripts/docs/steps.ts"
import { checkWords } from "../../scripts/docs/words.ts"
import { root } from "../../scripts/repository.ts"

Fs.mkdirSync(Path.join(root, "test-results"), { recursive: true })
const directory = Fs.mkdtempSync(Path.join(root, "test-results/documentation-"))

afterAll(() => Fs.rmSync(directory, { recursive: true, force: true }))

/** A page, below test-results. */
const page = (name: string, text: string): string => {
  Fs.writeFileSync(Path.join(directory, name), text)
  return Path.relative(root, Path.join(directory, name))
}

const fence = "```"

describe("links", () => {
  it("that lead nowhere are found", () => {
    const file = page(
      "links.md",
      `# One two

[here](#one-two), [there](../../docs/filters/writing-filters.md#verdicts), [test](../../test/protocol/commandOrder.test.ts)
[that lead nowhere are found](../../test/docs/checks.test.ts)

[nowhere](nothing.md) [no heading](#three) [no heading there](../../docs/filters/writing-filters.md#nothing)
[a test that is not](../../test/protocol/commandOrder.test.ts)
[elsewhere](https://example.org/)

${fence}text
[in code](nothing.md)
${fence}
`
    )
    assert.deepStrictEqual(checkLinks([file]).map(({ line, message }) => [line, message.replace(directory, "")]), [
      [6, "nothing.md leads nowhere"],
      [6, `#three: no such heading in ${file}`],
      [6, "../../docs/filters/writing-filters.md#nothing: no such heading in docs/filters/writing-filters.md"],
      [7, `test/protocol/commandOrder.test.ts has no test "a test that is not"`]
    ])
  })
})

describe("examples", () => {
  it("that do not compile are found, at their line, and named ones find each other", () => {
    const file = page(
      "examples.md",
      `${fence}ts file=one.ts
export const one: number = 1
${fence}

${fence}ts
import { one } from "./one.ts"
${fence}

${fence}ts file=two.ts
import { one } from "./one.ts"

export const two: string = one
${fence}

${fence}ts nocheck
export const three: string = 3
${fence}
`
    )
    const { count, problems } = checkExamples([file])
    assert.strictEqual(count, 3)
    assert.deepStrictEqual(
      problems.filter((problem) => problem.file === file).map(({ line }) => line).toSorted((a, b) => a - b),
      [6, 12]
    )
  })
})

describe("words", () => {
  it("that make readers stumble are found, in prose and in comments, but not in code", () => {
    const prose = page(
      "words.md",
      `An address that is none. There is none here. The rule \`is none\`.

Filters behind it. A proxy behind a NAT. A file that was left behind.

${fence}text
is none
${fence}
`
    )
    const code = page(
      "words.ts",
      `/** First. */
export const text = "behind it" // nobody listens there
/**
 * It shall be.
 */
export const other = \`is none\`
`
    )
    assert.deepStrictEqual(
      checkWords([prose, code]).map(({ file, line, message }) => [file, line, message.split(":")[0]]),
      [
        [prose, 1, "\"is none\""],
        [prose, 3, "\"behind\""],
        [code, 2, "\"listens there\""],
        [code, 4, "\"shall\""]
      ]
    )
    assert.deepStrictEqual(checkFirstLines([code]), [])
  })

  it("of comments are those of Effect", () => {
    const file = page(
      "wording.ts",
      `export {}
/** The sum. */
export const sum = (a: number, b: number): number => a + b
/** Returns the sum. */
export function total(a: number, b: number): number {
  return a + b
}
/** The largest one. */
export const largest = 7
/**
 * Returns nothing.
 *
 * **Example**
 *
 * **Warning**
 *
 * @example none
 */
export const nothing = (): void => {}
/**
 * The inner one.
 *
 * @internal
 */
export const inner = (): void => {}
`
    )
    assert.deepStrictEqual(checkWording([file]).map(({ line, message }) => [line, message]), [
      [3, "the comment of sum should begin with a present-tense verb"],
      [19, "the comment of nothing should have a section **Example** instead of the tag @example"],
      [19, "the comment of nothing has a section Warning, which is not one of When to use, Details, Gotchas, Example"]
    ])
    assert.deepStrictEqual(checkFirstLines([file]).map(({ line }) => line), [1])
  })
})

describe("steps", () => {
  it("are what readers write, type and see", () => {
    const steps = stepsOf(`${fence}ts file=a.ts
1
${fence}

${fence}sh exit=2
false
${fence}

It says:

${fence}text
no … at all
${fence}

${fence}sh background
serve
${fence}

${fence}text background
served
${fence}

${fence}sh skip
rm -rf /
${fence}
`)
    assert.deepStrictEqual(steps, [
      { _tag: "Write", line: 1, file: "a.ts", text: "1\n" },
      { _tag: "Run", line: 5, command: "false\n", background: false, exit: 2, shows: ["no … at all"] },
      { _tag: "Run", line: 15, command: "serve\n", background: true, exit: 0, shows: [] },
      { _tag: "Look", line: 19, shows: ["served"] }
    ])
  })

  it("show lines in their order, among others", () => {
    const printed = "first (1)\nother\nsecond 22\n"
    assert.strictEqual(missingFrom(printed, ["first (1)", "second …"]), undefined)
    assert.strictEqual(missingFrom(printed, ["second", "first"]), "first")
    assert.strictEqual(missingFrom(printed, ["third"]), "third")
  })
})
