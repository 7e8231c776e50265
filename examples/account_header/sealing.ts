/** Encrypts what is known of an account into a header value, and reads it back. */
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** What the header holds. Sessions without TLS, MTAs that do not tell and the like leave fields out. */
export const AccountData = Schema.Struct({
  login: Schema.String,
  /** The SASL mechanism. */
  mechanism: Schema.optional(Schema.String),
  client: Schema.Struct({ address: Schema.String, hostname: Schema.String, port: Schema.optional(Schema.Int) }),
  helo: Schema.optional(Schema.String),
  tls: Schema.optional(
    Schema.Struct({ version: Schema.optional(Schema.String), cipher: Schema.optional(Schema.String) })
  ),
  /** When the message was accepted; ISO 8601, UTC. */
  time: Schema.String,
  queueId: Schema.optional(Schema.String),
  sender: Schema.String,
  /** The Message-ID, which ties the data to this message: see {@link file://./README.md}. */
  messageId: Schema.optional(Schema.String)
})
export type AccountData = typeof AccountData.Type

/** The keys are not in order. No part of a key is in the message. */
export class InvalidKeys extends Data.TaggedError("InvalidKeys")<{ readonly message: string }> {}

/** The value was not made by us, or not for this header, or its key is gone. */
export class CannotOpen extends Data.TaggedError("CannotOpen")<{ readonly message: string }> {}

export class Sealing extends Context.Service<Sealing, {
  /** A header value, folded into short lines. */
  readonly seal: (data: AccountData) => Effect.Effect<string>
  /** The data of a header value, however it was folded since. */
  readonly open: (value: string) => Effect.Effect<AccountData, CannotOpen>
}>()("examples/account_header/Sealing") {
  /** For one header: what was sealed for it does not open as another. */
  static readonly layer = (
    headerName: string,
    keys: Redacted.Redacted
  ): Layer.Layer<Sealing, InvalidKeys, Aead.Aead | SecureRandom.SecureRandom> =>
    Layer.effect(Sealing, make(headerName, keys))
}

interface Key {
  readonly id: string
  readonly key: Aead.Key
}

/** `ID:BASE64` on each line, the newest key last, so that `>>` adds one. Empty lines and `#` comments are skipped. */
const parseKeys = Effect.fnUntraced(function*(text: Redacted.Redacted) {
  const keys: Array<Key> = []
  for (const [index, line] of Redacted.value(text).split(/\r?\n/).entries()) {
    if (/^\s*(#.*)?$/.test(line)) continue
    const complain = (what: string) => new InvalidKeys({ message: `line ${index + 1} of the keys ${what}` })
    const parts = /^\s*([A-Za-z0-9_-]{1,32}):(\S+)\s*$/.exec(line)
    if (parts === null) return yield* complain("is not ID:KEY, with an ID of letters, digits, - and _")
    const [, id = "", encoded = ""] = parts
    if (keys.some((key) => key.id === id)) return yield* complain(`uses the ID ${id} again`)
    // XChaCha20-Poly1305: its nonces are long enough to be drawn at random by any number of processes.
    const key = yield* Effect.fromResult(Base64.decode(encoded)).pipe(
      Effect.flatMap((bytes) => Aead.key(Aead.xchacha20Poly1305, bytes)),
      Effect.mapError(() => complain("is not a key: 32 bytes in Base64 are, such as `openssl rand -base64 32` gives"))
    )
    keys.push({ id, key })
  }
  const newest = keys.at(-1)
  if (newest === undefined) return yield* new InvalidKeys({ message: "there is no key among the keys" })
  return { newest, byId: new Map(keys.map(({ id, key }) => [id, key])) }
})

const version = "v1"
const nonceLength = Aead.xchacha20Poly1305.nonceLength
const encoder = new TextEncoder()
const Json = Schema.fromJsonString(AccountData)

const make = Effect.fnUntraced(function*(headerName: string, keys: Redacted.Redacted) {
  const aead = yield* Aead.Aead
  const random = yield* SecureRandom.SecureRandom
  const { byId, newest } = yield* parseKeys(keys)
  // Authenticated, not encrypted, and not sent either: who opens a value has to say the same.
  const boundTo = (id: string) => encoder.encode(`${headerName.toLowerCase()}\n${version}\n${id}`)

  const seal = Effect.fnUntraced(function*(data: AccountData) {
    const { id, key } = newest
    const nonce = yield* random.randomBytes(nonceLength)
    const text = yield* Schema.encodeEffect(Json)(data)
    const sealed = yield* aead.encrypt(key, encoder.encode(text), { nonce, aad: boundTo(id) })
    const bytes = new Uint8Array(nonceLength + sealed.length)
    bytes.set(nonce)
    bytes.set(sealed, nonceLength)
    return fold(`${version}.${id}.${Base64Url.encode(bytes)}`)
  }, Effect.orDie) // It fails for keys and nonces of a wrong length, and these are checked.

  const open = Effect.fnUntraced(function*(value: string) {
    const [, id = "", encoded = ""] = pattern.exec(value.replace(/\s+/g, "")) ?? []
    const bytes = Option.getOrUndefined(Result.getSuccess(Base64Url.decode(encoded)))
    if (id === "" || bytes === undefined) return yield* new CannotOpen({ message: "it is not one of our values" })
    const key = byId.get(id)
    if (key === undefined) return yield* new CannotOpen({ message: `there is no key ${id}` })
    return yield* Effect.suspend(() =>
      aead.decrypt(key, bytes.subarray(nonceLength), { nonce: bytes.subarray(0, nonceLength), aad: boundTo(id) })
    ).pipe(
      Effect.flatMap((text) => Schema.decodeEffect(Json)(new TextDecoder().decode(text))),
      Effect.mapError(() => new CannotOpen({ message: `it was not made with our key ${id}, or not for this header` }))
    )
  })

  return Sealing.of({ seal, open })
})

const pattern = new RegExp(`^${version}\\.([A-Za-z0-9_-]{1,32})\\.([A-Za-z0-9_-]+)$`)

/** Lines of 60. Nothing of the value is white space, so that it does not matter where others fold it again. */
const fold = (value: string): string => value.replace(/(.{60})(?=.)/g, "$1\n ")
