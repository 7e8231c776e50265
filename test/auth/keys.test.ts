/** Private keys and rings of keys, valid ones and others. */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, FileSystem, Layer, Logger, Redacted, Result } from "effect"
import * as Auth from "effect-milter/auth"
import { TestClock } from "effect/testing"
import { generateKeyPairSync } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { input, newKey } from "./support/mail.ts"

const key = (change: Partial<Auth.KeyInput>) => Auth.makeKey({ ...input("example.org"), ...change })

const reasonOf = (change: Partial<Auth.KeyInput>): string | undefined => {
  const made = key(change)
  return Result.isFailure(made) ? made.failure.reason : undefined
}

const find = (domain: string) =>
  Effect.gen(function*() {
    const found = yield* (yield* Auth.Keys).find(domain)
    return found.map(({ domain, selector }) => `${selector}.${domain}`)
  })

describe("makeKey", () => {
  it("tells what to publish", () => {
    const rsa = Result.getOrThrow(key({ domain: "Example.ORG.", selector: "2026A" }))
    assert.strictEqual(rsa.name, "2026a._domainkey.example.org")
    assert.match(rsa.record, /^v=DKIM1; k=rsa; p=MIIBIjAN[A-Za-z0-9+/]+=*$/)
    assert.strictEqual(rsa.algorithm, "rsa-sha256")
    const ed25519 = Result.getOrThrow(key({ privateKey: Redacted.make(newKey("ed25519")) }))
    assert.match(ed25519.record, /^v=DKIM1; k=ed25519; p=[A-Za-z0-9+/]{43}=$/)
  })

  it("takes PKCS#1", () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 })
    const pem = privateKey.export({ type: "pkcs1", format: "pem" }).toString()
    assert.isUndefined(reasonOf({ privateKey: Redacted.make(pem) }))
  })

  it("refuses what cannot sign", () => {
    const pem = (key: { export: (options: { type: "pkcs8"; format: "pem" }) => string | Buffer }) =>
      Redacted.make(key.export({ type: "pkcs8", format: "pem" }).toString())
    assert.strictEqual(
      reasonOf({ privateKey: Redacted.make(newKey("rsa", 512)) }),
      "expected at least 1024 bits, found 512"
    )
    assert.strictEqual(
      reasonOf({ privateKey: pem(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey) }),
      "expected RSA or Ed25519, found ec"
    )
    assert.strictEqual(
      reasonOf({ privateKey: Redacted.make("secret") }),
      "expected a private key in PEM, without a passphrase"
    )
    for (
      const domain of [
        "",
        "org",
        "example org",
        "example.org; d=example.com",
        "-a.example.org",
        "a..org",
        "a_b.example.org"
      ]
    ) {
      assert.strictEqual(reasonOf({ domain }), "expected a domain", domain)
    }
    for (const selector of ["", "a b", "a;b", "a_-", "a_b", "_a"]) {
      assert.strictEqual(reasonOf({ selector }), "expected a selector of letters, digits and hyphens", selector)
    }
    const failure = Result.flip(key({ privateKey: Redacted.make("secret") }))
    assert.notInclude(JSON.stringify(failure), "secret")
  })
})

describe("Keys", () => {
  it.effect("finds those of a domain, or of one above that signs for subdomains", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* find("example.org"), ["rsa.example.org", "ed25519.example.org"])
      assert.deepStrictEqual(yield* find("sub.example.org"), [])
      assert.deepStrictEqual(yield* find("a.b.example.net"), ["rsa.example.net"])
      assert.deepStrictEqual(yield* find("own.example.net"), ["rsa.own.example.net"])
      assert.deepStrictEqual(yield* find("net"), [])
    }).pipe(Effect.provide(Auth.Keys.layer([
      input("example.org"),
      input("example.org", "ed25519"),
      { ...input("example.net"), subdomains: true },
      input("own.example.net")
    ]))))

  it.effect("come from configuration", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* find("example.org"), ["2026a.example.org"])
    }).pipe(
      Effect.provide(
        Auth.Keys.layerConfig(Config.all([Config.nested(Auth.keyConfig, "DKIM")])).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord({
            DKIM_DOMAIN: "example.org",
            DKIM_SELECTOR: "2026a",
            DKIM_PRIVATE_KEY: newKey().replaceAll("\n", "\\n")
          })))
        )
      )
    ))

  it.effect("come from files, and are read again", () =>
    Effect.gen(function*() {
      let content = newKey()
      const files = FileSystem.layerNoop({ readFileString: () => Effect.sync(() => content) })
      const record = Effect.gen(function*() {
        const [found] = yield* (yield* Auth.Keys).find("example.org")
        return found?.record
      })
      yield* Effect.gen(function*() {
        const first = yield* record
        content = newKey()
        yield* TestClock.adjust("59 minutes")
        assert.strictEqual(yield* record, first)
        yield* TestClock.adjust("1 minute")
        const second = yield* record
        assert.notStrictEqual(second, first)
        content = "half a fi"
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* record, second)
        content = newKey()
        yield* TestClock.adjust("1 hour")
        assert.notStrictEqual(yield* record, second)
      }).pipe(
        Effect.provide(
          Auth.Keys.layerFiles([{ domain: "example.org", selector: "a", file: "/a.pem" }], { refresh: "1 hour" }).pipe(
            Layer.provide(files)
          )
        )
      )
    }))

  it.effect("are read by nobody else", () =>
    Effect.gen(function*() {
      const directory = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-"))),
        (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
      )
      const file = Path.join(directory, "key.pem")
      Fs.writeFileSync(file, newKey())
      const load = (options?: Parameters<typeof Auth.Keys.layerFiles>[1]) =>
        find("example.org").pipe(
          Effect.provide(
            Auth.Keys.layerFiles([{ domain: "example.org", selector: "a", file }], options).pipe(
              Layer.provide(NodeFileSystem.layer)
            )
          )
        )
      for (const mode of [0o600, 0o400, 0o640, 0o660]) {
        Fs.chmodSync(file, mode)
        assert.deepStrictEqual(yield* load(), ["a.example.org"])
      }
      for (const mode of [0o644, 0o604, 0o666]) {
        Fs.chmodSync(file, mode)
        const error = yield* Effect.flip(load())
        assert.strictEqual(
          error.message,
          `Key of example.org (a): ${file} is readable by every user of the system: take that away (chmod o-r), and publish a new key if users are not trusted`
        )
        const warnings: Array<unknown> = []
        const logger = Logger.make<unknown, void>(({ message }) => void warnings.push(message))
        assert.deepStrictEqual(yield* load({ unsafeKeys: "warn" }).pipe(Effect.provide(Logger.layer([logger]))), [
          "a.example.org"
        ])
        assert.deepStrictEqual(warnings.map(String), [error.message])
      }
      if (process.getuid?.() !== 0) return
      Fs.chmodSync(file, 0o640)
      Fs.chownSync(file, 0, 54_321)
      assert.match((yield* Effect.flip(load())).message, /is readable by a group that this process is not in/)
    }))

  it.effect("do not begin with one that is broken", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Effect.provide(
          find("example.org"),
          Auth.Keys.layer([{ ...input("example.org"), privateKey: Redacted.make("") }])
        )
      )
      assert.strictEqual(
        error.message,
        "Key of example.org (rsa): expected a private key in PEM, without a passphrase"
      )
    }))
})
