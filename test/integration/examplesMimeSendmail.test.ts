/** The examples that edit parts, "disclaimer", "external_banner" and "attachment_policy", with a real Sendmail. */
import { layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { describeDaemon } from "../../testbed/daemon.ts"
import { prerequisites } from "../../testbed/opendkim.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as Examples from "./support/mimeExamples.ts"

class Fixture extends Context.Service<Fixture, {
  readonly sendmail: Sendmail.Instance
  readonly verifier: string
}>()("test/Fixture") {}

const fixture = Layer.effect(
  Fixture,
  Effect.gen(function*() {
    const { inProcess, served, verifier } = yield* Examples.servers
    const { disclaimer, ...others } = served
    const sendmail = yield* Sendmail.make<string>({
      filters: [disclaimer],
      listeners: {
        disclaimer: [disclaimer],
        ...Object.fromEntries(Object.entries(others).map(([name, filter]) => [name, [filter]])),
        ...Object.fromEntries(Object.entries(inProcess).map(([name, address]) => [name, [{ address }]]))
      }
    })
    return { sendmail, verifier }
  })
)

Sendmail.describeSendmail("examples that edit parts with Sendmail", () => {
  describeDaemon("and OpenDKIM", prerequisites, () => {
    layer(fixture, { excludeTestServices: true })((it) => {
      const send = (listener: string, messages: ReadonlyArray<string>) =>
        Effect.flatMap(Fixture, ({ sendmail }) => Examples.deliver(sendmail, listener, messages))

      for (const [name, checks] of Object.entries(Examples.checks)) {
        it.effect(`${name}: what is delivered`, () =>
          Effect.gen(function*() {
            const mails = yield* send(name, checks.map(([message]) => message))
            mails.forEach((mail, index) => checks[index]![1](mail))
          }))
      }

      for (const [name, checks] of Object.entries(Examples.inOrderChecks)) {
        it.effect(`${name}: verify, edit, sign, seal, and OpenDKIM verifies what arrives`, () =>
          Effect.gen(function*() {
            const { verifier } = yield* Fixture
            const mails = yield* send(name, checks.map(([message]) => message))
            mails.forEach((mail, index) => checks[index]![1](mail))
            yield* Effect.forEach(mails, (mail) => Examples.assertVerified(verifier, mail))
          }))
      }
    })
  })
})
