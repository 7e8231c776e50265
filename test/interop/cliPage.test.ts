/** docs/operate/cli.md shows what other milters want, and do to a message: in substance, it still has to be that. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as cli from "../../scripts/docs/cli.ts"
import { describeDaemon } from "../../testbed/daemon.ts"
import { prerequisites } from "../../testbed/daemons.ts"
import { prerequisites as opendkim } from "../../testbed/opendkim.ts"
import { describePostfix } from "../../testbed/postfix.ts"

/** The verdict, the reply and the fields that came; not their values, which change with time and version. */
const substanceOf = (text: string): ReadonlyArray<string> => {
  const lines = text.split("\n")
  const added = lines.flatMap((line) => /^\+([\w-]+): /.exec(line)?.[1] ?? [])
  return [...lines.filter((line) => / at end of message$|^ {2}\d{3} /.test(line)), ...added.toSorted()]
}

describeDaemon("docs/operate/cli.md", {
  commands: [...opendkim.commands, ...prerequisites.rspamd.commands],
  packages: `${opendkim.packages} ${prerequisites.rspamd.packages}`
}, () => {
  it.live("shows what happens", () =>
    Effect.gen(function*() {
      const page = Fs.readFileSync(cli.page, "utf8")
      const { ham, signed, spam, verified } = yield* cli.sent
      const same = (name: string, now: string) =>
        assert.deepStrictEqual(substanceOf(now), substanceOf(cli.sectionOf(page, name) ?? ""), name)
      assert.deepStrictEqual([signed.code, verified.code, ham.code, spam.code], [0, 0, 0, 2])
      same("send opendkim", signed.text)
      same("send verify", verified.text)
      same("send rspamd", `${ham.text}${spam.text}`)
    }))
})

/**
 * The lines without what is another each time: numbers, queue ids, bars, the end of a line that the page cuts off. Sorted, since a
 * delivery and the end of a conversation may come in either order.
 */
const shapeOf = (text: string): ReadonlyArray<string> =>
  // A slow machine has lines that say what is waited for.
  text.split("\n").filter((line) => !/^ *[\d.,]+ to [\d.,]+ |^effect-milter: waiting/.test(line)).map((line) =>
    line.startsWith("slowest: ") ? "slowest: " : line
      .replace(/\bid \w+|\bi=\w+|\bby \S+ \(Postfix\)|^\t.*/g, "*")
      .replace(/\b[\d-]+T[\d:.]+Z/g, "#")
      .replace(/\b\d[\d.,:]*/g, "#")
      // Both close; either may be seen first.
      .replace(/the (?:MTA|filter) has closed/, "closed")
      .replace(/ +/g, " ")
      .trim().slice(0, 60)
  ).filter((line) => line !== "").toSorted()

describePostfix("docs/operate/cli.md, commands with a filter of one's own", () => {
  it.live("show what they print", () =>
    Effect.gen(function*() {
      const page = Fs.readFileSync(cli.page, "utf8")
      for (const [name, text] of yield* cli.own) {
        assert.deepStrictEqual(shapeOf(text), shapeOf(cli.sectionOf(page, name) ?? ""), name)
      }
    }).pipe(Effect.scoped))
})

/** The stages and the modifications that a milter wants. */
const wantedOf = (text: string): ReadonlyArray<string> => (text.match(/"[^"]*"/g) ?? []).toSorted()

describeDaemon("docs/operate/cli.md, probe", {
  commands: [...opendkim.commands, ...prerequisites.rspamd.commands, ...prerequisites.clamav.commands],
  packages: `${opendkim.packages} ${prerequisites.rspamd.packages} ${prerequisites.clamav.packages}`
}, () => {
  it.live("shows what milters want", () =>
    Effect.gen(function*() {
      const page = Fs.readFileSync(cli.page, "utf8")
      for (const [name, { code, text }] of Object.entries(yield* cli.probed)) {
        assert.strictEqual(code, 0, name)
        assert.deepStrictEqual(wantedOf(text), wantedOf(cli.sectionOf(page, `probe ${name}`) ?? ""), name)
      }
    }))
})
