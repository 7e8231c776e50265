/** What has become of many messages, and the summary at the end. Pure. */
import type * as MilterClient from "../../MilterClient.ts"
import type { Style } from "../terminal/style.ts"
import type { verdictCodes } from "../trouble/exit.ts"
import { colourOf, verdictOf, words } from "./report.ts"

type VerdictName = keyof typeof verdictCodes

/** How many of the slowest messages are named. */
const mostSlow = 3

export class Tally {
  private readonly verdicts = new Map<VerdictName, number>()
  private readonly modifications = new Map<string, number>()
  private slowest: ReadonlyArray<{ readonly name: string; readonly milliseconds: number }> = []
  private changed = 0
  private _failed = 0
  private _unexpected = 0
  private _messages = 0

  /** All messages, with those that could not be sent. */
  get messages(): number {
    return this._messages
  }

  /** The messages that could not be sent. */
  get failed(): number {
    return this._failed
  }

  /** The messages with another verdict than the expected one. */
  get unexpected(): number {
    return this._unexpected
  }

  fail(): void {
    this._messages++
    this._failed++
  }

  add(name: string, outcome: MilterClient.Outcome, milliseconds: number, isExpected: boolean): void {
    const verdict = verdictOf(outcome)
    this._messages++
    this.verdicts.set(verdict, (this.verdicts.get(verdict) ?? 0) + 1)
    if (!isExpected) this._unexpected++
    if (outcome.modifications.length > 0) this.changed++
    for (const { _tag } of outcome.modifications) this.modifications.set(_tag, (this.modifications.get(_tag) ?? 0) + 1)
    this.slowest = [...this.slowest, { name, milliseconds }]
      .toSorted((one, other) => other.milliseconds - one.milliseconds).slice(0, mostSlow)
  }

  summary(milliseconds: number, style: Style): string {
    const order: ReadonlyArray<VerdictName> = ["Accepted", "Rejected", "TempFailed", "Discarded", "Quarantined"]
    const verdicts = order.flatMap((verdict) => {
      const count = this.verdicts.get(verdict)
      return count === undefined ? [] : [colourOf(style)[verdict](`${count} ${words[verdict]}`)]
    })
    const failed = this._failed === 0 ? [] : [style.red(`${this._failed} could not be sent`)]
    const modifications = [...this.modifications].toSorted(([, one], [, other]) => other - one)
    const lines = [
      `${counted(this._messages)} in ${(milliseconds / 1000).toFixed(1)} s: ${[...verdicts, ...failed].join(", ")}`,
      ...(modifications.length === 0
        ? []
        : [
          `changes in ${counted(this.changed)}: ${modifications.map(([name, count]) => `${name} ${count}`).join(", ")}`
        ]),
      ...(this.slowest.length === 0
        ? []
        : [
          `slowest: ${
            this.slowest.map(({ milliseconds, name }) => `${(milliseconds / 1000).toFixed(3)} s ${name}`).join(", ")
          }`
        ]),
      ...(this._unexpected === 0 ? [] : [style.red(`not as expected: ${this._unexpected}`)])
    ]
    return lines.map((line) => `${line}\n`).join("")
  }
}

const counted = (count: number): string => `${count} ${count === 1 ? "message" : "messages"}`
