/** Generated and mangled messages: an edit changes what its result says, and no other byte. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { edit } from "./support/editing.ts"
import { type Mail, mailOf, mangled, sourceOf } from "./support/mimeMessages.ts"
import { type Leaf, leavesOf, textOf } from "./support/parsed.ts"

const banner = { text: "-- \nVertraulich, Grüße", html: "<p>Vertraulich, Grüße</p>" }

const plain = "-- \nVertraulich, Grüße"

const isBanner = (leaf: Leaf): boolean => leaf.type === "text/plain" && textOf(leaf).trimEnd() === plain

/** The text without the banner; undefined if it does not hold it once. */
const without = (leaf: Leaf): string | undefined => {
  const text = textOf(leaf)
  const inserted = leaf.type === "text/html" ? /\n<p>Vertraulich, Gr(?:ü|&#252;)(?:ß|&#223;)e<\/p>\n/ : plain
  const [before, after, ...others] = text.split(inserted)
  return before === undefined || after === undefined || others.length > 0 ? undefined : before + after
}

const same = (left: Leaf, right: Leaf): boolean => left.type === right.type && left.content === right.content

/**
 * White space and line ends around the banner are those of the edit. In a part that had to be encoded anew, white space at the end
 * of a quoted-printable line is gone, which is no content (RFC 2045 6.7 (3)) but postal-mime shows it, and of CR CR LF it shows both.
 */
const shown = (text: string): string => text.replace(/[ \t\r]+$/gm, "").trim()

const holds = (edited: Leaf, original: Leaf): boolean => {
  const rest = without(edited)
  return edited.type === original.type && rest !== undefined && shown(rest) === shown(textOf(original))
}

const outsideContent = ({ fields }: Mail): ReadonlyArray<string> =>
  fields.filter(([name]) => !/^content-|^mime-version$/i.test(name)).map((field) => field.join(":"))

const check = (mail: Mail, how: "append" | "prepend") =>
  Effect.gen(function*() {
    const { mail: after, result, undone } = yield* edit(mail, (mime) => mime[how](banner))
    assert.strictEqual(undone, mail.body, "undone")
    assert.deepStrictEqual(outsideContent(after), outsideContent(mail))
    if (Result.isFailure(result) || result.success.edited.length === 0) {
      assert.strictEqual(after.body, mail.body)
      assert.deepStrictEqual(after.fields, mail.fields)
      return Result.isFailure(result) ? "refused" : "left"
    }
    const { edited } = result.success
    const [before, now] = yield* Effect.promise(() =>
      Promise.all([leavesOf(sourceOf(mail)), leavesOf(sourceOf(after))])
    )
    if (before === undefined || now === undefined) return "unreadable"
    const isBeside = edited[0]!.how === "beside"
    const kept = isBeside ? now.filter((leaf) => !isBanner(leaf)) : now
    assert.strictEqual(kept.length, before.length, JSON.stringify({ edited, before, now }, null, 1))
    // postal-mime leaves the last line end of a message out, where no delimiter follows.
    const isSame = (leaf: Leaf, original: Leaf): boolean =>
      same(leaf, original) || (isBeside && same(leaf, { ...original, content: `${original.content}\n` }))
    const changed = kept.flatMap((leaf, index) => isSame(leaf, before[index]!) ? [] : [[leaf, before[index]!] as const])
    for (const [leaf, original] of changed) {
      assert(holds(leaf, original), JSON.stringify({ leaf, original, edited }, null, 1))
    }
    assert.strictEqual(
      changed.length,
      isBeside ? 0 : edited.length,
      JSON.stringify({ edited, before, now, mail }, null, 1)
    )
    if (isBeside) assert.strictEqual(now.length, before.length + 1)
    for (const line of sourceOf(after).split("\n")) {
      const isOld = line.length > 998 && sourceOf(mail).includes(line)
      assert(line.length <= 998 || isOld, "a long line")
    }
    return isBeside ? "beside" : "inside"
  })

const count = 300

const notice = "a program was removed"

const isProgram = ({ type }: { readonly type: string }): boolean => type === "application/octet-stream"

/** Replaces what can be replaced; the parts of messages in the message are of a parser of their own, so these stay. */
const replaceAll = (mail: Mail) =>
  edit(mail, (mime) =>
    Effect.gen(function*() {
      const { leaves } = yield* mime.tree
      const results = yield* Effect.forEach(
        leaves.filter((part) => isProgram(part) && part.inMessage === undefined),
        (part) => Effect.result(part.replace({ text: notice }))
      )
      return results.filter(Result.isSuccess).length
    }))

const checkReplaced = (mail: Mail) =>
  Effect.gen(function*() {
    const { mail: after, result, undone } = yield* replaceAll(mail)
    assert.strictEqual(undone, mail.body, "undone")
    const replaced = Result.getOrThrow(result)
    if (replaced === 0) assert.deepStrictEqual(after, mail)
    const [before, now] = yield* Effect.promise(() =>
      Promise.all([leavesOf(sourceOf(mail)), leavesOf(sourceOf(after))])
    )
    if (before === undefined || now === undefined) return 0
    assert.strictEqual(now.length, before.length)
    const changed = now.flatMap((leaf, index) => same(leaf, before[index]!) ? [] : [[leaf, before[index]!] as const])
    for (const [leaf, original] of changed) {
      assert.strictEqual(leaf.content.trim(), notice)
      assert(isProgram(original))
    }
    assert.strictEqual(changed.length, replaced)
    return replaced
  })

describe("replacing", () => {
  for (
    const [name, make] of [["generated", mailOf], ["mangled", (seed: number) => mangled(mailOf(seed), seed)]] as const
  ) {
    it.effect(`changes the parts that it says in ${name} messages`, () =>
      Effect.gen(function*() {
        let replaced = 0
        for (let seed = 0; seed < count; seed++) {
          replaced += yield* checkReplaced(make(seed)).pipe(
            Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect })))
          )
        }
        assert.isAbove(replaced, 30)
      }))
  }
})

describe("generated messages", () => {
  for (const how of ["append", "prepend"] as const) {
    it.effect(`${how} changes what it says`, () =>
      Effect.gen(function*() {
        const seen: { [outcome: string]: number } = {}
        for (let seed = 0; seed < count; seed++) {
          const outcome = yield* check(mailOf(seed), how).pipe(
            Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect })))
          )
          seen[outcome] = (seen[outcome] ?? 0) + 1
        }
        // All ways are taken, and a message that was made well is understood.
        for (const outcome of ["inside", "beside", "left"]) assert.isAbove(seen[outcome] ?? 0, 5)
        assert.strictEqual(seen["refused"] ?? 0, 0)
      }))

    it.effect(`${how} changes what it says in mangled ones`, () =>
      Effect.gen(function*() {
        const seen: { [outcome: string]: number } = {}
        for (let seed = 0; seed < count; seed++) {
          const outcome = yield* check(mangled(mailOf(seed), seed), how).pipe(
            Effect.catchDefect((defect) => Effect.die(new Error(`seed ${seed}`, { cause: defect })))
          )
          seen[outcome] = (seen[outcome] ?? 0) + 1
        }
        for (const outcome of ["inside", "beside", "refused"]) assert.isAbove(seen[outcome] ?? 0, 5)
      }))
  }
})
