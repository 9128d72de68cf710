/** The zoo rests where the machines themselves are mutated: it would only say again what is said by `npm test`. */
export const kills = (): void => {}
