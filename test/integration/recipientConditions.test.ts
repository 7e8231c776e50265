/** Conditions on recipients with real MTAs: the table, and what happens to mail that a user submits on the machine itself. */
import { assert, it, layer } from "@effect/vitest"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { freePort, headerValues, type Mailbox, type MtaError } from "../../testbed/mta.ts"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { deliveredTo, filterOf, isTagged, isUnknown, rows } from "../support/conditionRows.ts"
import * as FilterServer from "./support/filterServer.ts"
import { short as message } from "./support/messages.ts"

interface Mta extends Omit<Mailbox, "forget"> {
  readonly port: number
}

/** The MTA, and the address at which each row serves its own filter. */
class Fixture extends Context.Service<Fixture, { readonly mta: Mta; readonly address: string }>()("test/Fixture") {}

const fixture = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) =>
  Layer.effect(
    Fixture,
    Effect.gen(function*() {
      const address = `inet:${yield* freePort(["127.0.0.1"])}@127.0.0.1`
      return { mta: yield* start(address), address }
    })
  )

/** Sendmail puts the recipient in front of the filter's text. */
const said = ({ code, text }: SmtpClient.Reply): string =>
  code === 250 ? "ok" : text.replace(/(?<=^\S+ \S+ )<\S+>\.\.\. /, "")

const suite = (start: (address: string) => Effect.Effect<Mta, MtaError, Scope.Scope>) => () =>
  layer(fixture(start))((it) => {
    it.effect.each(rows)("$name", (row) =>
      Effect.gen(function*() {
        const { address, mta } = yield* Fixture
        const { filter, seen } = filterOf(row)
        yield* FilterServer.serve(filter, { listen: address })
        const client = yield* SmtpClient.connect(mta.port)
        const to = row.to.map((name) => `${name}@test.example`)
        const { accepted, data, queueId, rcpt } = yield* client.sendMail({ from: "alice@example.org", to, message })
        const answers = rcpt.map((reply, index) =>
          isUnknown(row.to[index]!) && reply.code === 550 ? "mta" : said(reply)
        )
        assert.deepStrictEqual(answers, row.answers)
        const recipients = deliveredTo(row)
        if (row.data !== undefined) assert.strictEqual(said(data!), row.data)
        else assert.strictEqual(accepted, recipients === undefined || recipients.length > 0)
        yield* client.quit
        assert.deepStrictEqual(seen, row.seen)
        if (recipients !== undefined && recipients.length > 0) {
          const mail = yield* mta.takeOne({ queueId })
          assert.sameMembers([...mail.recipients], [...recipients])
          assert.deepStrictEqual(headerValues(mail, "X-Tag"), isTagged(row) ? ["yes"] : [])
        } else if (row.isDiscarded === true) assert.deepStrictEqual(yield* mta.delivered, [])
      }).pipe(Effect.scoped))
  })

const isVip: Milter.ConditionAt<"rcpt", never> = ({ recipient }) => recipient.localPart.startsWith("vip")

const tag = Milter.make("tag", { modify: ["addHeader"] }).on({
  endOfMessage: (_, { edit }) => Effect.as(edit.addHeader("X-Tag", "yes"), Verdict.continue)
})

Postfix.describePostfix("mail to recipients of both kinds in Postfix", () => {
  it.effect("is sent in two messages by a client, and as one with a warning by a local user", () =>
    Effect.gen(function*() {
      const warnings: Array<string> = []
      const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
        const text = String(message)
        // Not those of a slow machine, about the clock of tests.
        if (logLevel === "Warn" && text.startsWith("tag ")) warnings.push(text)
      })
      const separate = Milter.when(tag, { rcpt: isVip, recipients: "any", mixed: "separate" })
      const address = yield* FilterServer.serve(separate).pipe(Effect.provide(Logger.layer([logger])))
      const milters = FilterServer.forPostfix(address)
      const mta = yield* Postfix.make({ milters, nonSmtpdMilters: milters })

      // What a client does with 452: it sends to those recipients next.
      const client = yield* SmtpClient.connect(mta.port)
      let waiting: ReadonlyArray<string> = ["bob@test.example", "vip1@test.example", "carol@test.example"]
      const sent: Array<string> = []
      for (let tries = 0; tries < 2; tries++) {
        const { queueId, rcpt } = yield* client.sendMail({ from: "alice@example.org", to: waiting, message })
        const { recipients, ...mail } = yield* mta.takeOne({ queueId })
        sent.push(`${recipients.join(" ")}: ${headerValues(mail, "X-Tag").join()}`)
        waiting = waiting.filter((_, index) => rcpt[index]!.code === 452)
      }
      assert.deepStrictEqual(sent, ["bob@test.example carol@test.example: ", "vip1@test.example: yes"])
      assert.deepStrictEqual(warnings, [])

      yield* mta.submitLocal("Subject: hello\n\nHello.\n", ["-i", "bob@test.example", "vip1@test.example"])
      const mail = yield* mta.takeOne()
      assert.sameMembers([...mail.recipients], ["bob@test.example", "vip1@test.example"])
      assert.deepStrictEqual(headerValues(mail, "X-Tag"), ["yes"])
      assert.deepStrictEqual(warnings, [
        "tag takes part in a message for recipients of both kinds: local mail cannot be separated"
      ])
    }).pipe(Effect.scoped))
})

Postfix.describePostfix(
  "conditions on recipients with Postfix",
  suite((address) => Postfix.make({ milters: FilterServer.forPostfix(address) }))
)

Sendmail.describeSendmail(
  "conditions on recipients with Sendmail",
  suite((address) => Sendmail.make({ filters: [{ address }] }))
)
