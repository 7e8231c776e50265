/** `effect-milter try` where no private Postfix can be started: the program plays Postfix. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { fileURLToPath } from "node:url"
import { type Options, spawn } from "../../../testbed/childProcess.ts"
import { describeWith, notRoot } from "../../../testbed/prerequisite.ts"
import * as Smtp from "../../../testbed/smtpClient.ts"
import { command, complains, run, runWith } from "../../support/commandLine.ts"
import { fakeProgram } from "../../support/fakeProgram.ts"

const moduleOf = (name: string): string => fileURLToPath(new URL(`../../support/modules/${name}.ts`, import.meta.url))

const message = Smtp.crlf("From: Alice <alice@example.org>\nSubject: hi\u001b[2J\n\nHello\n")

const withoutPostfix = { NO_COLOR: "1", PATH: "/nonexistent" }

/** Makes the import of smtp-server fail. No blanks, at which NODE_OPTIONS would end. */
const withoutSmtpServer = "--import=data:text/javascript,import{registerHooks}from'node:module';" +
  "registerHooks({resolve(name,context,next){if(name==='smtp-server')throw(Error('absent'));return(next(name,context))}})"

/** Without Postfix in PATH. */
const tryWithout = (...files: ReadonlyArray<string>) =>
  spawn(process.execPath, command(["try", ...files]), { env: withoutPostfix })

describe("try", () => {
  it.live("plays Postfix where there is none, and shows conversations and deliveries until Ctrl-C", () =>
    Effect.gen(function*() {
      const tried = yield* tryWithout(moduleOf("filter"))
      yield* tried.shows(
        /^effect-milter: no private Postfix: postconf of Postfix is not in PATH, or fails\. The program plays Postfix itself, with smtp-server$/m
      )
      const [, port] = yield* tried.shows(
        /^A server that plays Postfix listens on port (\d+) of 127\.0\.0\.1 and asks /m
      )
      yield* tried.shows(/^Ctrl-C ends it\.$/m)
      const smtp = yield* Smtp.connect(Number(port))
      const send = (from: string) => smtp.sendMail({ from, to: ["bob@example.net", "carol@example.net"], message })

      assert.isTrue((yield* send("alice@example.org")).accepted)
      const [delivered] = yield* tried.shows(
        /^--- delivered, from <alice@example\.org> to <bob@example\.net>, <carol@example\.net>\n[^]*?^---$/m
      )
      assert.match(delivered, /^X-Picky: yes$/m)
      assert.match(delivered, /\n\nHello\n---$/)
      // Nothing that the terminal would obey.
      assert.notInclude(tried.output, "\u001b")
      assert.match(tried.output, /MTA +→ Mail sender="<alice@example\.org>"/)

      assert.strictEqual((yield* send("mallory@example.com")).mail.text, "550 5.7.1 not you")
      yield* tried.shows(/filter ← .*550 5\.7\.1 not you/)

      assert.isTrue((yield* send("suspect@example.org")).accepted)
      yield* tried.shows(/^--- in quarantine \(looked at by hand\), from <suspect@example\.org> to /m)

      // The client stays, which delays nothing.
      yield* tried.signal("SIGINT")
      assert.strictEqual(yield* tried.exit, 0, tried.output)
    }).pipe(Effect.scoped))

  it.live("plays Postfix where a Postfix is too old, where postconf fails, and for a user who is not root", () =>
    Effect.gen(function*() {
      const postconf = (version: string) => `printf '%s\\n' ${version} /daemons /commands postfix postdrop`
      const cases: ReadonlyArray<readonly [script: string, why: string, options: Options]> = [
        [postconf("2.11.11"), "Postfix 3.4 or later is needed, and this is 2.11.11", {}],
        [postconf("3.3.2"), "Postfix 3.4 or later is needed, and this is 3.3.2", {}],
        ["exit 1", "postconf of Postfix is not in PATH, or fails", {}],
        [postconf("3.4.0"), "only root can start Postfix", notRoot === undefined ? { user: 65534 } : {}],
        [postconf("3.10.4"), "only root can start Postfix", notRoot === undefined ? { user: 65534 } : {}]
      ]
      yield* Effect.forEach(cases, ([script, why, options]) =>
        Effect.gen(function*() {
          const path = yield* fakeProgram("postconf", script)
          const tried = yield* spawn(process.execPath, command(["try", moduleOf("filter")]), {
            env: { NO_COLOR: "1", PATH: path },
            ...options
          })
          const [, port] = yield* tried.shows(/^A server that plays Postfix listens on port (\d+) of 127\.0\.0\.1 /m)
          assert.include(
            tried.output,
            `effect-milter: no private Postfix: ${why}. The program plays Postfix itself, with smtp-server\n`
          )
          // Mail reaches the filter this way, too.
          const smtp = yield* Smtp.connect(Number(port))
          const sent = yield* smtp.sendMail({ from: "mallory@example.com", to: "bob@example.net", message })
          assert.strictEqual(sent.mail.text, "550 5.7.1 not you")
          yield* smtp.quit
          yield* tried.signal("SIGINT")
          assert.strictEqual(yield* tried.exit, 0, tried.output)
        }).pipe(Effect.scoped))
    }))

  it.live("asks several filters, and serves a layer too", () =>
    Effect.gen(function*() {
      for (const files of [[moduleOf("filter"), moduleOf("pair")], [moduleOf("server")]]) {
        const tried = yield* tryWithout(...files)
        yield* tried.shows(/^Ctrl-C ends it\.$/m)
        yield* tried.signal("SIGTERM")
        assert.strictEqual(yield* tried.exit, 0, tried.output)
      }
    }).pipe(Effect.scoped))

  it.live("says in a line what it needs to play Postfix", () =>
    Effect.gen(function*() {
      const ran = yield* runWith(
        { env: { ...withoutPostfix, NODE_OPTIONS: withoutSmtpServer } },
        "try",
        moduleOf("filter")
      )
      complains(ran, /no private Postfix: postconf of Postfix is not in PATH, or fails\. .*: npm install smtp-server$/m)
    }))

  it.live("shows the filter's log from a level on", () =>
    Effect.gen(function*() {
      const tried = yield* tryWithout(moduleOf("filter"), "--log-level", "info")
      yield* tried.shows(/picky listens on/)
      yield* tried.signal("SIGINT")
      assert.strictEqual(yield* tried.exit, 0, tried.output)
    }).pipe(Effect.scoped))

  it.live("says in a line what is wrong with a module", () =>
    Effect.gen(function*() {
      complains(yield* run("try", moduleOf("absent")), /there is no .*absent\.ts/)
      complains(yield* run("try", moduleOf("needy")), /needy\.ts cannot be tried: /)
    }))
})

describeWith(notRoot, "try by root", () => {
  it.live("says in a line that the private Postfix does not start", () =>
    Effect.gen(function*() {
      // The users are there, master(8) is not.
      const path = yield* fakeProgram("postconf", "printf '%s\\n' 3.10.4 /nonexistent /nonexistent root root")
      const ran = yield* runWith({ env: { PATH: `${path}:${process.env["PATH"]}` } }, "try", moduleOf("filter"))
      complains(ran, /the private Postfix does not start: \/nonexistent\/master cannot be started$/m)
    }).pipe(Effect.scoped))
})
