/** The hooks of a filter in an array, at the numbers of their stages. */
import type { Definition, Hook } from "../filter/definition.ts"
import { byStage } from "../protocol/stageTable.ts"

export interface StageHook {
  /** Whether the hook gives a verdict; otherwise it only watches. */
  readonly isAnswer: boolean
  readonly body: Hook
}

/** Undefined where the filter has no hook. */
export type StageHooks = ReadonlyArray<StageHook | undefined>

export const stageHooksOf = ({ answers, observes }: Definition): StageHooks =>
  byStage((stage) => {
    const answer = answers[stage]
    const body = answer ?? observes[stage]
    return body === undefined ? undefined : { isAnswer: answer !== undefined, body }
  })
