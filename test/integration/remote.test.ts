/**
 * Remote milters beside the same milters at the MTA itself: real opendkim and rspamd, a filter that edits, and two that
 * refuse a recipient. What arrives has to be the same.
 */
import { assert, layer } from "@effect/vitest"
import type * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import { NodeMilterClient } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { directory, missing } from "../../testbed/daemon.ts"
import { prerequisites, rspamd } from "../../testbed/daemons.ts"
import { opendkim, prerequisites as ofOpendkim, signingKey } from "../../testbed/opendkim.ts"
import * as Postfix from "../../testbed/postfix.ts"
import { describeWith } from "../../testbed/prerequisite.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { verdicts } from "../auth/support/independent.ts"
import * as FilterServer from "./support/filterServer.ts"
import { comparable, type Letter, letters, repliesOf } from "./support/remoteAgreement.ts"

/** Refuses one recipient. */
const refusing = (localPart: string) =>
  Milter.make(`refusing-${localPart}`).on({
    rcpt: ({ recipient }) =>
      Effect.succeed(
        recipient.localPart === localPart
          ? Verdict.reject({ enhanced: "5.1.1", text: ["not here,", "100% sure"] })
          : Verdict.continue
      )
  })

/** Edits every message, and refuses a recipient. */
const editing = Milter.make("editing", {
  modify: ["insertHeader", "changeHeader", "deleteHeader", "replaceBody", "addRecipient"],
  message: () => Effect.sync(() => ({ replaces: false, drops: 0 }))
}).on({
  rcpt: ({ recipient }) =>
    Effect.succeed(recipient.localPart === "own" ? Verdict.tempFail({ text: "later" }) : Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit, message }) {
    for (let n = message.drops; n > 0; n--) yield* edit.deleteHeader("X-Drop", n)
    yield* edit.changeHeader("Subject", 1, "edited")
    yield* edit.insertHeader(1, "X-Own", "a value\n\tthat is folded")
    yield* edit.addRecipient("archive@test.example")
    if (message.replaces) yield* edit.replaceBody(new TextEncoder().encode("a new body\n.\nits last line"))
    return Verdict.continue
  })
}, {
  header: ({ name }, { message }) =>
    Effect.sync(() => {
      if (name.toLowerCase() === "x-replace") message.replaces = true
      if (name.toLowerCase() === "x-drop") message.drops++
    })
})

/** The key as DNS would have it, out of opendkim's own file. */
const recordsOf = (line: string): Auth.RecordTable => {
  const [, name, record] = /^(\S+) (.*)\n$/.exec(line)!
  return { [name!]: { TXT: [record!] } }
}

/** The milters by themselves, and one server that has them as filters. */
const milters = Effect.gen(function*() {
  const own = yield* directory
  const key = signingKey(own)
  const signer = yield* opendkim(key)
  const scanner = yield* rspamd({ extended: false })
  const early = yield* FilterServer.serve(refusing("early"))
  const late = yield* FilterServer.serve(refusing("late"))
  const editor = yield* FilterServer.serve(editing)
  const failures: Array<string> = []
  const handled = Milter.onFailure((error: Milter.RemoteError) =>
    Effect.sync(() => {
      failures.push(error.message)
      return Verdict.tempFail({ text: "a milter has failed" })
    })
  )
  const headers = ["addHeader", "insertHeader", "changeHeader", "deleteHeader"] as const
  const all = [
    "replaceBody",
    "addRecipient",
    "addRecipientWithParameters",
    "deleteRecipient",
    "changeSender",
    "quarantine"
  ] as const
  const stages = ["connect", "helo", "mail", "rcpt"] as const
  const sequence = Milter.sequence([
    handled(Milter.remote("early", { to: early, modify: [], stages })),
    handled(Milter.remote("rspamd", { to: scanner, modify: [...headers, ...all] })),
    editing,
    handled(Milter.remote("late", { to: late, modify: [], stages })),
    handled(Milter.remote("opendkim", { to: signer, modify: headers, signs: true }))
  ])
  return {
    records: recordsOf(Fs.readFileSync(key.publicKeys, "latin1")),
    failures,
    separate: [early, scanner, editor, late, signer],
    together: yield* Effect.provide(FilterServer.serve(sequence), NodeMilterClient.layer)
  }
})

interface Sent {
  readonly letter: Letter
  readonly replies: ReadonlyArray<string>
  readonly delivered: ReturnType<typeof comparable> | undefined
  /** The delivered message in its own bytes. */
  readonly raw: string
}

/** Sends all letters, several on a connection. */
const sendAll = Effect.fnUntraced(function*(
  port: number,
  take: (queueId: string) => Effect.Effect<Parameters<typeof comparable>[1], unknown>
) {
  const sent: Array<Sent> = []
  let scope = Scope.makeUnsafe()
  let client: SmtpClient.SmtpClient | undefined
  for (const letter of letters) {
    if (client === undefined || letter.before === "connect") {
      if (client !== undefined) yield* client.quit
      yield* Scope.close(scope, Exit.void)
      scope = Scope.makeUnsafe()
      client = yield* Scope.provide(SmtpClient.connect(port), scope)
    } else if (letter.before === "rset") {
      // Given up after the envelope.
      yield* client.pipeline(["MAIL FROM:<eve@example.org>", "RCPT TO:<bob@test.example>"])
      yield* client.command("RSET")
    } else if (letter.before === "ehlo") yield* client.command("EHLO again.example.org")
    const result = yield* client.sendMail({ ...letter })
    const delivered = result.queueId === undefined ? undefined : yield* take(result.queueId)
    if (!result.accepted) yield* client.command("RSET")
    sent.push({
      letter,
      replies: repliesOf(result),
      delivered: delivered === undefined ? undefined : comparable(letter, delivered),
      raw: delivered?.raw ?? ""
    })
  }
  if (client !== undefined) yield* client.quit
  yield* Scope.close(scope, Exit.void)
  return sent
})

const compare = Effect.fnUntraced(function*(
  separate: ReadonlyArray<Sent>,
  together: ReadonlyArray<Sent>,
  records: Auth.RecordTable
) {
  for (const [n, one] of separate.entries()) {
    const other = together[n]!
    const { name } = one.letter
    assert.deepStrictEqual(other.replies, one.replies, name)
    assert.deepStrictEqual(other.delivered, one.delivered, name)
    for (const { raw } of [one, other]) {
      if (raw !== "") assert.deepStrictEqual(yield* verdicts(raw, records), ["pass"], `${name}: its signature`)
    }
  }
  // Each of the milters has had its part in each message.
  const part = ["X-Spamd-Bar", "X-Own", "DKIM-Signature"]
  for (const { delivered, letter } of separate) {
    const names = delivered?.fields.map((field) => field.slice(0, field.indexOf(":"))) ?? part
    assert.deepStrictEqual(part.filter((name) => !names.includes(name)), [], letter.name)
  }
  const outcomes = separate.map(({ delivered }) => delivered !== undefined)
  // Spam, and messages without a recipient that is left, are not delivered.
  assert.isAbove(outcomes.filter((is) => is).length, 30)
  assert.isAbove(outcomes.filter((is) => !is).length, 5)
  const recipients = new Set(separate.flatMap(({ delivered }) => delivered?.recipients ?? []))
  assert.isTrue(recipients.has("archive@test.example"))
  for (const refused of ["early", "own", "late"]) assert.isFalse(recipients.has(`${refused}@test.example`), refused)
})

const missingDaemons = missing({
  commands: [...ofOpendkim.commands, ...prerequisites.rspamd.commands],
  packages: `${ofOpendkim.packages} ${prerequisites.rspamd.packages}`
})

class Both extends Context.Service<Both, {
  readonly separate: ReadonlyArray<Sent>
  readonly together: ReadonlyArray<Sent>
  readonly records: Auth.RecordTable
  readonly failures: ReadonlyArray<string>
}>()("test/Both") {}

describeWith(missingDaemons ?? Postfix.missingPrerequisite(), "remote milters with Postfix", () => {
  layer(
    Layer.effect(
      Both,
      Effect.gen(function*() {
        const { failures, records, separate, together } = yield* milters
        const postfix = yield* Postfix.make<"separate">({
          milters: FilterServer.forPostfix(together),
          listeners: { separate: { milters: separate.map(FilterServer.forPostfix).join(",") } }
        })
        const take = (queueId: string) => postfix.takeOne({ queueId })
        return {
          separate: yield* sendAll(postfix.portOf("separate"), take),
          together: yield* sendAll(postfix.port, take),
          records,
          failures
        }
      })
    ),
    { timeout: "5 minutes" }
  )((it) => {
    it.effect("deliver what they would deliver as smtpd_milters", () =>
      Effect.gen(function*() {
        const { failures, records, separate, together } = yield* Both
        assert.deepStrictEqual(failures, [])
        yield* compare(separate, together, records)
      }))
  })
})

describeWith(missingDaemons ?? Sendmail.missingPrerequisite(), "remote milters with Sendmail", () => {
  layer(
    Layer.effect(
      Both,
      Effect.gen(function*() {
        const { failures, records, separate, together } = yield* milters
        const beside = yield* Sendmail.make({ filters: separate.map((address) => ({ address })) })
        const one = yield* Sendmail.make({ filters: [{ address: together }] })
        const take = (sendmail: Sendmail.Instance<never>) => (queueId: string) => sendmail.takeOne({ queueId })
        return {
          separate: yield* sendAll(beside.port, take(beside)),
          together: yield* sendAll(one.port, take(one)),
          records,
          failures
        }
      })
    ),
    { timeout: "5 minutes" }
  )((it) => {
    it.effect("deliver what they would deliver as input filters", () =>
      Effect.gen(function*() {
        const { failures, records, separate, together } = yield* Both
        assert.deepStrictEqual(failures, [])
        yield* compare(separate, together, records)
      }))
  })
})
