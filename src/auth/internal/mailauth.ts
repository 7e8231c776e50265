/** Calls mailauth: verifies messages, translates its results into ours, and makes seals. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import {
  arc,
  type ARCData,
  type ARCResult,
  createSeal,
  type DKIMResult,
  dkimVerify,
  type DKIMVerifyResult,
  spf,
  type SPFResult
} from "mailauth"
import { isIP } from "node:net"
import { asciiDomain } from "../../internal/mail/domainName.ts"
import type { ArcResult, DkimResult, Results, SpfResult } from "../Results.ts"
import type { Author } from "./author.ts"
import { fold, withPlainComments } from "./authserv.ts"
import type { Resolver, Resolvers } from "./bridge.ts"
import type { Feed } from "./content.ts"
import { judge, type Judged, normalDomain } from "./dmarc.ts"
import type { Refused, Selected } from "./headerBlock.ts"

/** mailauth gave up on a message, or could not make a seal. */
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
  /** Without angle brackets, empty for the null sender; ends with `@` if there is no domain. */
  readonly sender: string
  /** The author, or why there is not exactly one. */
  readonly author: Result.Result<Author, string>
  readonly leastRsaBits: number
  readonly strict: boolean
}

/** A word of RFC 8601; `otherwise` for any other. */
const oneOf = <const A extends string>(words: ReadonlyArray<A>, word: string, otherwise: A): A =>
  words.find((each) => each === word) ?? otherwise

const spfResult = (found: SPFResult, checking: Checking): SpfResult => ({
  result: oneOf(
    ["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"],
    found.status.result,
    "permerror"
  ),
  // mailauth's name for a sender without a domain.
  domain: found.domain === "-" ? "" : found.domain,
  identity: checking.sender === "" ? "helo" : "mailfrom",
  explanation: found.explanation
})

/** What mailauth found, check by check. */
interface Found {
  /** The part of the header that was checked, and the signatures that were not. */
  readonly selected: Selected
  /** Why not all of the body was read. */
  readonly unread: string | undefined
  readonly dkim: DKIMVerifyResult
  /** Undefined if the chain was not checked. */
  readonly arc: ARCResult | undefined
  /** Undefined if the client has no address. */
  readonly spf: SPFResult | undefined
  readonly dmarc: Judged
}

/** Why a signature was not checked, with its domain and selector: mailauth may have seen only a placeholder. */
const refusal = ({ signature, signingDomain, selector, status }: DKIMResult, found: Found): Refused | undefined =>
  found.selected.refused.get(signature ?? "") ?? (found.unread === undefined || status.result === "pass"
    ? undefined
    : { reason: found.unread, domain: signingDomain, selector })

const dkimResult = (each: DKIMResult, found: Found): DkimResult => {
  const refused = refusal(each, found)
  if (refused !== undefined) {
    const { domain, reason, selector } = refused
    return { ...unchecked("permerror", reason), domain: domain?.toLowerCase(), selector }
  }
  const { aligned, comment, result, testing, underSized } = each.status
  const domain = each.signingDomain
  return {
    result: oneOf(["pass", "fail", "neutral", "none", "policy", "temperror", "permerror"], result, "permerror"),
    domain: domain?.toLowerCase(),
    selector: each.selector,
    algorithm: each.algo,
    aligned: result === "pass" &&
      (found.dmarc.aligned?.has(normalDomain(domain ?? "")) ?? typeof aligned === "string"),
    testing: testing === true,
    unsigned: underSized ?? 0,
    comment
  }
}

/** The result of a signature that was not checked. */
const unchecked = (result: "temperror" | "permerror", comment: string): DkimResult => ({
  result,
  domain: undefined,
  selector: undefined,
  algorithm: undefined,
  aligned: false,
  testing: false,
  unsigned: 0,
  comment
})

const dkimRow = (each: DKIMResult, found: Found): string => {
  const refused = refusal(each, found)
  if (refused === undefined) return each.info ?? ""
  const domain = asciiDomain(refused.domain ?? "")
  return `dkim=permerror (${refused.reason})${domain === undefined ? "" : ` header.d=${domain}`}`
}

const arcResult = ({ arc, selected }: Found): ArcResult =>
  arc === undefined
    ? { result: "fail", instance: 0, comment: selected.brokenChain }
    : {
      result: oneOf(["pass", "fail", "none"], arc.status.result, "fail"),
      instance: arc.i === false ? 0 : arc.i,
      comment: arc.status.comment
    }

/**
 * Keeps strangers' text where mailauth has put it. Text outside ASCII would be encoded on its way into the message, with its
 * quotes, and then a quoted string (tag `i` of a signature) would end elsewhere. A quote in a comment could seem to begin a
 * quoted string.
 */
const harmless = (row: string): string => withPlainComments(row.replace(/[^\0-\x7f]/g, "_"))

const textOf = (authservId: string, rows: ReadonlyArray<string>): string =>
  `${authservId};\n ${rows.length === 0 ? "none" : rows.map((row) => fold(harmless(row), 1)).join(";\n ")}`

const spfRow = (found: SPFResult | undefined): ReadonlyArray<string> => found === undefined ? [] : [found.info]

/** The HELO name; for a host without one, its address. */
const heloOf = ({ client, helo }: Checking): string | undefined => {
  const name = helo === undefined || helo === "" ? client : helo
  return name !== undefined && isIP(name) !== 0 ? `[${name}]` : name
}

const spfOf = async (checking: Checking, resolver: Resolver): Promise<SPFResult | undefined> => {
  const { authservId, client, sender, strict } = checking
  const helo = heloOf(checking)
  return client === undefined
    ? undefined
    : spf({ sender, ip: client, ...(helo === undefined ? {} : { helo }), mta: authservId, resolver, strict })
}

const find = async (feed: Feed, checking: Checking, resolvers: Resolvers, selected: Selected): Promise<Found> => {
  const { client, leastRsaBits: minBitLength, sender, strict } = checking
  const dkim = await dkimVerify(feed.readable, { resolver: resolvers.keys, sender, minBitLength, strict })
  refuseForeigners(dkim)
  const chain = selected.brokenChain !== undefined || dkim.arc === undefined ? undefined : await arc(
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its type has no place for the error that it gets
    dkim.arc as ARCData,
    { resolver: resolvers.keys, minBitLength, strict, ...(client === undefined ? {} : { ip: client }) }
  )
  const spf = await spfOf(checking, resolvers.spf)
  const evidence = {
    author: checking.author,
    dkim,
    spfDomains: spf?.status.result === "pass" ? [spf.domain] : [],
    dkimDomains: dkim.results.flatMap(({ id, signingDomain, status }) =>
      status.result === "pass" && signingDomain !== undefined
        ? [{ ...(id === undefined ? {} : { id }), domain: signingDomain, underSized: status.underSized ?? 0 }]
        : []
    ),
    arcResult: chain ?? { i: false as const, status: { result: "fail" } }
  }
  return {
    selected,
    unread: feed.tooLarge,
    dkim,
    arc: chain,
    spf,
    dmarc: await judge(evidence, resolvers.dmarc, strict)
  }
}

/**
 * Refuses signatures whose identity (tag `i`) is outside their domain (RFC 6376 6.1.1), or in a subdomain if the key forbids
 * that (`t=s`). mailauth lets both pass unless it is strict; honest mail does not have them.
 */
const refuseForeigners = ({ results }: DKIMVerifyResult): void => {
  for (const [index, each] of results.entries()) {
    if (each.status.result !== "pass" || each.status.warnings?.includes("identity-domain") !== true) continue
    results[index] = {
      ...each,
      status: { ...each.status, result: "neutral", comment: "domain mismatch" },
      info: each.info.replace(/^dkim=pass/, "dkim=neutral (domain mismatch)")
    }
  }
}

const resultsOf = (found: Found, checking: Checking): Results => {
  const { arc, dkim, selected, spf } = found
  return {
    spf: spf === undefined ? undefined : spfResult(spf, checking),
    dkim: dkim.results.map((each) => dkimResult(each, found)),
    dmarc: found.dmarc.result,
    arc: arcResult(found),
    text: textOf(checking.authservId, [
      ...dkim.results.map((each) => dkimRow(each, found)),
      ...spfRow(spf),
      ...(arc === undefined ? [`arc=fail (${selected.brokenChain})`] : arc.info === undefined ? [] : [arc.info]),
      found.dmarc.row
    ])
  }
}

/** Reads the message to its end and checks it. */
export const check = (
  feed: Feed,
  checking: Checking,
  resolvers: Resolvers,
  selected: Selected
): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    Effect.tryPromise({ try: () => find(feed, checking, resolvers, selected), catch: failed }),
    (found) => resultsOf(found, checking)
  )

/** Checks SPF alone, for a message that cannot be read, with one result for all other checks. */
export const checkSpf = (
  checking: Checking,
  resolver: Resolver,
  otherwise: "temperror" | "permerror",
  comment: string
): Effect.Effect<Results, MailauthError> =>
  Effect.map(
    Effect.tryPromise({ try: () => spfOf(checking, resolver), catch: failed }),
    (found) => ({
      spf: found === undefined ? undefined : spfResult(found, checking),
      dkim: [unchecked(otherwise, comment)],
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

/** Makes an ARC set, topmost field first; empty if the chain has ended. */
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
