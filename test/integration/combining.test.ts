/** Filters under conditions, in the shadow and with refusals given later, in one sequence that real MTAs ask. */
import { assert, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import { type Delivered, headerValues, type Mailbox, type MtaError, poll } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import * as FilterServer from "./support/filterServer.ts"
import { short as message } from "./support/messages.ts"

/** What the filters have seen, and the lines of the one in the shadow. */
interface Notes {
  readonly held: Array<string>
  readonly shadow: Array<Readonly<Record<string, unknown>>>
}

const tag = (name: string, value: string) =>
  Milter.make(name, { modify: ["addHeader"] }).on({
    endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", value), Verdict.continue)
  })

const refuse = (text: string) => Effect.succeed(Verdict.reject({ enhanced: "5.7.1", text }))

/** On trial: it likes nobody, and would change the message. */
const strict = Milter.make("strict", { modify: ["addHeader", "deleteHeader", "replaceBody"] }).on({
  rcpt: ({ recipient }) => recipient.localPart === "dora" ? refuse("not dora") : Effect.succeed(Verdict.continue),
  endOfMessage: Effect.fnUntraced(function*(_, { edit }) {
    yield* edit.addHeader("X-Tag", "shadow")
    yield* edit.deleteHeader("Subject", 1)
    yield* edit.replaceBody(new TextEncoder().encode("nothing\r\n"))
    return Verdict.continue
  })
})

/** Refuses at HELO and at MAIL, and is made to wait for the recipient. */
const blocked = Milter.make("blocked").on({
  helo: ({ name }) => name === "bad.example.org" ? refuse("bad name") : Effect.succeed(Verdict.continue),
  mail: ({ sender }) => sender.localPart === "eve" ? refuse("not eve") : Effect.succeed(Verdict.continue)
})

/** Its hooks of connect and HELO are held until a sender comes for whom it counts. */
const greylist = ({ held }: Notes) => {
  const note = (line: string) =>
    Effect.sync(() => {
      held.push(line)
      return Verdict.continue
    })
  return Milter.make("greylist").on({
    connect: ({ client }) => note(`connect ${client.isLoopback}`),
    helo: ({ name }) => note(`helo ${name}`),
    mail: ({ sender }) => note(`mail ${sender.address}`),
    rcpt: () => Effect.succeed(Verdict.tempFail({ enhanced: "4.7.1", text: "come back later" }))
  })
}

const combined = (notes: Notes) =>
  Milter.sequence([
    Milter.shadow(strict),
    Milter.delayReject(blocked, { at: "rcpt", except: ({ recipient }) => recipient.localPart === "carol" }),
    Milter.when(greylist(notes), { mail: ({ sender }) => sender.domain === "example.net" }),
    Milter.when(tag("loopback", "loopback"), { connect: ({ client }) => client.isLoopback }),
    Milter.when(tag("elsewhere", "elsewhere"), { connect: ({ client }) => !client.isLoopback }),
    tag("named", "named").pipe(Milter.when({ helo: ({ name }) => name === "named.example.org" }))
  ])

interface Mta extends Omit<Mailbox, "forget"> {
  readonly port: number
  readonly awaitLog: (pattern: RegExp) => Effect.Effect<string, MtaError>
  readonly awaitIdle: () => Effect.Effect<ReadonlyArray<Delivered>, MtaError>
}

class Fixture extends Context.Service<Fixture, { readonly mta: Mta; readonly notes: Notes }>()("test/Fixture") {}

const fixture = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) =>
  Layer.effect(
    Fixture,
    Effect.gen(function*() {
      const notes: Notes = { held: [], shadow: [] }
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        const text = String(Array.isArray(message) ? message[0] : message)
        if (text.startsWith("shadow")) notes.shadow.push({ text, ...fiber.getRef(References.CurrentLogAnnotations) })
      })
      const address = yield* FilterServer.serve(combined(notes)).pipe(Effect.provide(Logger.layer([logger])))
      return { mta: yield* start(address), notes }
    })
  )

/** Sendmail puts the recipient in front of the filter's text. */
const said = ({ text }: SmtpClient.Reply): string => text.replace(/(?<=^\S+ \S+ )<\S+>\.\.\. /, "")

/** `delayed` is what the MTA's own log says of a refusal that came at the recipient. */
const suite = (
  start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>,
  delayed: (text: string, from: string, to: string) => ReadonlyArray<RegExp>
) =>
() =>
  layer(fixture(start))((it) => {
    it.effect("a refusal of HELO and of MAIL is read at each recipient, and some are exempt", () =>
      Effect.gen(function*() {
        const { mta } = yield* Fixture
        const client = yield* SmtpClient.connect(mta.port)
        assert.strictEqual((yield* client.command("EHLO bad.example.org")).code, 250)
        const first = yield* client.sendMail({
          from: "alice@example.org",
          to: ["bob@test.example", "carol@test.example"],
          message
        })
        assert.strictEqual(first.mail.code, 250)
        assert.strictEqual(said(first.rcpt[0]!), "550 5.7.1 bad name")
        assert.strictEqual(first.rcpt[1]!.code, 250)
        assert.isTrue(first.accepted)
        const mail = yield* mta.takeOne({ queueId: first.queueId })
        assert.deepStrictEqual(mail.recipients, ["carol@test.example"])
        assert.deepStrictEqual(headerValues(mail, "X-Tag"), ["loopback"])
        for (const pattern of delayed("bad name", "alice@example.org", "bob@test.example")) yield* mta.awaitLog(pattern)

        // Another HELO: that refusal is forgotten, one of MAIL is new.
        yield* client.command("EHLO good.example.org")
        const second = yield* client.sendMail({
          from: "eve@example.org",
          to: ["bob@test.example", "dora@test.example"],
          message
        })
        assert.deepStrictEqual(second.rcpt.map(said), ["550 5.7.1 not eve", "550 5.7.1 not eve"])
        assert.isFalse(second.accepted)
        yield* client.command("RSET")
        const third = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
        assert.deepStrictEqual((yield* mta.takeOne({ queueId: third.queueId })).recipients, ["bob@test.example"])
        assert.deepStrictEqual(yield* mta.awaitIdle(), [])
      }).pipe(Effect.scoped))

    it.effect("a condition of MAIL is asked for each message, and shows what was held once it holds", () =>
      Effect.gen(function*() {
        const { mta, notes: { held } } = yield* Fixture
        held.length = 0
        const client = yield* SmtpClient.connect(mta.port)
        const from = Effect.fnUntraced(function*(sender: string) {
          const { queueId, rcpt } = yield* client.sendMail({ from: sender, to: "bob@test.example", message })
          if (queueId !== undefined) yield* mta.takeOne({ queueId })
          else yield* client.command("RSET")
          return said(rcpt[0]!)
        })
        assert.match(yield* from("alice@example.org"), /^250 /)
        assert.deepStrictEqual(held, [])
        assert.strictEqual(yield* from("one@example.net"), "451 4.7.1 come back later")
        assert.match(yield* from("alice@example.org"), /^250 /)
        assert.strictEqual(yield* from("two@example.net"), "451 4.7.1 come back later")
        assert.deepStrictEqual(held, [
          "connect true",
          "helo client.example.org",
          "mail one@example.net",
          "mail two@example.net"
        ])
        assert.deepStrictEqual(yield* mta.awaitIdle(), [])
      }).pipe(Effect.scoped))

    it.effect("conditions of connect and HELO choose who edits", () =>
      Effect.gen(function*() {
        const { mta } = yield* Fixture
        const client = yield* SmtpClient.connect(mta.port)
        const tags = Effect.fnUntraced(function*(name: string) {
          yield* client.command(`EHLO ${name}`)
          const { queueId } = yield* client.sendMail({ from: "alice@example.org", to: "bob@test.example", message })
          return headerValues(yield* mta.takeOne({ queueId }), "X-Tag")
        })
        assert.deepStrictEqual(yield* tags("client.example.org"), ["loopback"])
        // Sendmail adds a field above those of its name.
        assert.sameMembers([...yield* tags("named.example.org")], ["loopback", "named"])
        assert.deepStrictEqual(yield* tags("client.example.org"), ["loopback"])
      }).pipe(Effect.scoped))

    it.effect("a filter in the shadow changes nothing, and says what it would have done", () =>
      Effect.gen(function*() {
        const { mta, notes: { shadow } } = yield* Fixture
        shadow.length = 0
        const client = yield* SmtpClient.connect(mta.port)
        const to = ["bob@test.example", "dora@test.example"]
        const { queueId, rcpt } = yield* client.sendMail({ from: "alice@example.org", to, message })
        assert.deepStrictEqual(rcpt.map(({ code }) => code), [250, 250])
        const mail = yield* mta.takeOne({ queueId })
        assert.deepStrictEqual(mail.recipients, to)
        assert.deepStrictEqual(headerValues(mail, "X-Tag"), ["loopback"])
        assert.deepStrictEqual(headerValues(mail, "Subject"), ["hello"])
        assert.strictEqual(mail.body, "Hello.\n")
        const line = yield* poll(5000, Effect.sync(() => shadow[0]))
        assert(line !== undefined)
        assert.strictEqual(line["text"], "shadow accepted")
        assert.match(JSON.stringify(line["refused"]), /dora@test\.example.*550 5\.7\.1 not dora/)
        assert.match(JSON.stringify(line["modifications"]), /X-Tag.*Subject.*body/is)
      }).pipe(Effect.scoped))
  })

const quoted = (text: string): string => text.replaceAll(".", "\\.")

Postfix.describePostfix(
  "combined filters with Postfix",
  suite(
    (address) => Postfix.make({ milters: FilterServer.forPostfix(address) }),
    // All of it stands in one line.
    (text, from, to) => [
      new RegExp(`milter-reject: RCPT from .*: 550 5\\.7\\.1 ${text}; from=<${quoted(from)}> to=<${quoted(to)}>`)
    ]
  )
)

Sendmail.describeSendmail(
  "combined filters with Sendmail",
  suite(
    (address) => Sendmail.make({ filters: [{ address }] }),
    (text, _, to) => [new RegExp(`Milter: to=<${quoted(to)}>, reject=550 5\\.7\\.1 ${text}`)]
  )
)
