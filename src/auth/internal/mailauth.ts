/** mailauth: its verification, what it found in words of ours, and its seals. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { authenticate, type AuthenticateResult, createSeal, spf, type SPFResult } from "mailauth"
import type { ArcResult, DkimResult, DmarcResult, Results, SpfResult } from "../Results.ts"
import { fold } from "./authserv.ts"
import type { Resolver } from "./bridge.ts"
import type { Feed } from "./content.ts"

/** It gave up on a message, or could not make a seal. */
export class MailauthError extends Data.TaggedError("MailauthError")<{
  readonly message: string
  readonly cause: unknown
}> {}

const failed = (cause: unknown): MailauthError =>
  new MailauthError({ message: cause instanceof Error ? cause.message : "unknown", cause })

export interface Checking {
  readonly authservId: string
  readonly client: string | undefined
  readonly helo: string | undefined
  /** Without angle brackets, empty for the null sender. */
  readonly sender: string
  readonly leastRsaBits: number
  readonly strict: boolean
}

/** A word of RFC 8601, or what stands for any other. */
const oneOf = <const A extends string>(words: ReadonlyArray<A>, word: string, otherwise: A): A =>
  words.find((each) => each === word) ?? otherwise

const spfResult = (found: SPFResult, checking: Checking): SpfResult => ({
  result: oneOf(
    ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"],
    found.status.result,
    "permerror"
  ),
  domain: found.domain,
  identity: checking.sender === "" ? "helo" : "mailfrom",
  explanation: found.explanation
})

const dkimResult = (found: AuthenticateResult["dkim"]["results"][number]): DkimResult => ({
  result: oneOf(
    ["pass", "fail", "neutral", "none", "policy", "temperror", "permerror"],
    found.status.result,
    "permerror"
  ),
  domain: found.signingDomain?.toLowerCase(),
  selector: found.selector,
  algorithm: found.algo,
  aligned: found.status.result === "pass" && typeof found.status.aligned === "string",
  testing: found.status.testing === true,
  unsigned: found.status.underSized ?? 0,
  comment: found.status.comment
})

const dmarcResult = ({ dmarc, dmarcSkipReason }: AuthenticateResult): DmarcResult =>
  dmarc === false
    ? {
      result: "permerror",
      domain: undefined,
      policy: undefined,
      policyDomain: undefined,
      comment: dmarcSkipReason?.replaceAll("-", " ")
    }
    : {
      result: oneOf(["pass", "fail", "none", "temperror", "permerror"], dmarc.status.result, "permerror"),
      domain: dmarc.status.header?.from,
      policy: ["none", "quarantine", "reject"].includes(dmarc.policy)
        ? oneOf(["none", "quarantine", "reject"], dmarc.policy, "none")
        : undefined,
      policyDomain: dmarc.policyDomain,
      comment: dmarc.error
    }

const arcResult = ({ arc }: AuthenticateResult): ArcResult =>
  arc === false
    ? { result: "none", instance: 0, comment: undefined }
    : {
      result: oneOf(["pass", "fail", "none"], arc.status.result, "fail"),
      instance: arc.i === false ? 0 : arc.i,
      comment: arc.status.comment
    }

/**
 * What strangers have written stays where mailauth has put it: text outside ASCII would be encoded on its way into the
 * message, quotes and all, and then a quoted string (tag `i` of a signature) would end elsewhere; and not all readers know
 * that a quote in a comment is none.
 */
const harmless = (row: string): string =>
  row.replace(/[^\0-\x7f]/g, "_").replace(
    /"(?:[^"\\]|\\[^])*"|\((?:[^()\\]|\\[^])*\)/g,
    (part) => part.startsWith("(") ? part.replace(/"/g, "'") : part
  )

const textOf = (authservId: string, rows: ReadonlyArray<string>): string =>
  `${authservId};\n ${rows.length === 0 ? "none" : rows.map((row) => fold(harmless(row), 1)).join(";\n ")}`

const spfRow = (found: SPFResult | undefined): ReadonlyArray<string> => found === undefined ? [] : [found.info]

const options = (checking: Checking, resolver: Resolver) => ({
  sender: checking.sender,
  ...(checking.client === undefined ? {} : { ip: checking.client }),
  ...(checking.helo === undefined ? {} : { helo: checking.helo }),
  mta: checking.authservId,
  resolver,
  strict: checking.strict
})

const resultsOf = (found: AuthenticateResult, checking: Checking): Results => {
  const spf = checking.client === undefined || found.spf === false ? undefined : found.spf
  const dmarc = dmarcResult(found)
  return {
    spf: spf === undefined ? undefined : spfResult(spf, checking),
    dkim: found.dkim.results.map(dkimResult),
    dmarc,
    arc: arcResult(found),
    text: textOf(checking.authservId, [
      ...found.dkim.results.map(({ info }) => info),
      ...spfRow(spf),
      ...(found.arc === false || found.arc.info === undefined ? [] : [found.arc.info]),
      found.dmarc === false ? `dmarc=permerror (${dmarc.comment ?? "no author"})` : found.dmarc.info
    ])
  }
}

/** Reads the message to its end and checks it. */
export const check = (feed: Feed, checking: Checking, resolver: Resolver): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    Effect.tryPromise({
      try: () =>
        authenticate(feed.readable, {
          ...options(checking, resolver),
          minBitLength: checking.leastRsaBits,
          disableBimi: true
        }),
      catch: failed
    }),
    (found) => resultsOf(found, checking)
  )

/** For a message that cannot be read: SPF alone, and one result for everything else. */
export const checkSpf = (
  checking: Checking,
  resolver: Resolver,
  otherwise: "temperror" | "permerror",
  comment: string
): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    checking.client === undefined ? Effect.undefined : Effect.tryPromise({
      try: () => spf({ ip: checking.client ?? "", ...options(checking, resolver) }),
      catch: failed
    }),
    (found) => ({
      spf: found === undefined ? undefined : spfResult(found, checking),
      dkim: [{
        result: otherwise,
        domain: undefined,
        selector: undefined,
        algorithm: undefined,
        aligned: false,
        testing: false,
        unsigned: 0,
        comment
      }],
      dmarc: { result: otherwise, domain: undefined, policy: undefined, policyDomain: undefined, comment },
      arc: { result: "fail", instance: 0, comment },
      text: textOf(checking.authservId, [
        `dkim=${otherwise} (${comment})`,
        ...spfRow(found),
        `arc=fail (${comment})`,
        `dmarc=${otherwise} (${comment})`
      ])
    })
  )

export interface SealField {
  readonly name: string
  readonly value: string
}

export interface Sealing {
  readonly key: { readonly domain: string; readonly selector: string; readonly pem: string }
  readonly chain: "none" | "pass" | "fail"
  readonly results: string
  readonly time: Date
}

/** An ARC set, topmost field first; none for a chain that has ended. */
export const makeSeal = (feed: Feed, sealing: Sealing): Effect.Effect<ReadonlyArray<SealField>, MailauthError> =>
  Effect.flatMap(
    Effect.tryPromise({
      try: () =>
        createSeal(feed.readable, {
          seal: {
            signingDomain: sealing.key.domain,
            selector: sealing.key.selector,
            privateKey: sealing.key.pem,
            // What is not ASCII would be encoded on its way into the message, and then the seal would not hold.
            authResults: sealing.results.replace(/\r?\n/g, "\r\n").replace(/[^\0-\x7f]/g, "?"),
            cv: sealing.chain,
            signTime: sealing.time
          },
          strict: true
        }),
      catch: failed
    }),
    ({ errors, headers }) => {
      const error = errors.map(({ err }) => err).find(({ code }) => code !== "EARCCHAINFAILED")
      if (error !== undefined) return Effect.fail(failed(error))
      return Effect.succeed(headers.map((header) => {
        const colon = header.indexOf(":")
        return { name: header.slice(0, colon), value: header.slice(colon + 1).replace(/^ /, "") }
      }))
    }
  )
