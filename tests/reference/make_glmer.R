# Fit models with lme4 and write data/glmer.json; run in tests/reference as `Rscript make_glmer.R`.
library(lme4)
library(MASS)

read <- function(name, ...) read.csv(gzfile(file.path("data", paste0(name, ".csv.gz"))), ...)

number <- function(x) formatC(x, digits = 15, format = "g")
object <- function(x) {
  paste0("{", paste0("\"", names(x), "\": ", number(unname(x)), collapse = ", "), "}")
}

describe <- function(id, fit) {
  components <- as.data.frame(VarCorr(fit))
  components <- components[components$grp != "Residual", ]
  words <- function(x) ifelse(is.na(x), "null", paste0("\"", x, "\""))
  parts <- paste0(
    "{\"grp\": ", words(components$grp), ", \"var1\": ", words(components$var1),
    ", \"var2\": ", words(components$var2), ", \"sdcor\": ", number(components$sdcor), "}"
  )
  size <- if (startsWith(family(fit)$family, "Negative")) {
    paste0(", \"dispersion\": ", number(1 / getME(fit, "glmer.nb.theta")))
  } else ""
  paste0(
    "{\"id\": \"", id, "\", \"loglik\": ", number(as.numeric(logLik(fit))),
    ", \"fixef\": ", object(fixef(fit)),
    ", \"se\": ", object(setNames(sqrt(diag(as.matrix(vcov(fit)))), names(fixef(fit)))),
    ", \"varcomp\": [", paste(parts, collapse = ", "), "]", size, "}"
  )
}

control <- glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5))
simulated <- read("glmm_simulated")
out <- c()
for (bar in c("(1 | a)", "(1 + x | a)", "(1 + x || a)")) {
  structure <- c("(1 | a)" = "crossed", "(1 + x | a)" = "correlated", "(1 + x || a)" = "uncorrelated")
  model <- function(response) as.formula(paste(response, "~ x +", bar, "+ (1 | b)"))
  id <- function(response) paste0(response, "_", structure[[bar]])
  out <- c(
    out,
    describe(id("bernoulli_logit"), glmer(model("bernoulli_logit"), simulated, binomial,
                                          control = control)),
    describe(id("bernoulli_probit"), glmer(model("bernoulli_probit"), simulated,
                                           binomial("probit"), weights = w, control = control)),
    describe(id("poisson"), glmer(model("poisson"), simulated, poisson, offset = o,
                                  control = control)),
    describe(id("negative_binomial"), glmer.nb(model("negative_binomial"), data = simulated,
                                               control = control))
  )
}

slope <- read("contra_slope")
out <- c(out, describe("contra_slope", glmer(y ~ urban + (1 + urban | district), slope, binomial,
                                             control = control)))
crabs <- read("crabs")
fixed <- paste(names(crabs)[5:ncol(crabs)], collapse = " + ")
out <- c(out, describe("crabs", glmer(
  as.formula(paste("surv ~", fixed, "+ (1 + snail_size | plot)")), crabs, binomial,
  weights = initial_snail_density, control = control
)))
trees <- read("trees513")
trees$species <- factor(trees$species, c("spruce", "pine", "beech", "oak", "hardwood"))
out <- c(out, describe("trees513", glmer(
  I(damage == "no") ~ 0 + species + (1 | lattice) + (1 | lattice:plot), trees, binomial,
  control = control
)))
counts <- read("freqweights_agg")
out <- c(out, describe("freqweights_agg", glmer(y ~ x + (1 + x | i), counts, poisson,
                                                weights = Freq, control = control)))
# without random effects: the thresholds and coefficients of MASS::polr
for (link in c("logit", "probit")) {
  response <- paste0("ordinal_", link)
  simulated$y <- factor(simulated[[response]], ordered = TRUE)
  fit <- polr(y ~ x + o, simulated, weights = w, method = if (link == "logit") "logistic" else link,
              Hess = TRUE, control = list(reltol = 1e-14, maxit = 1000))
  out <- c(out, paste0(
    "{\"id\": \"polr_", link, "\", \"loglik\": ", number(as.numeric(logLik(fit))),
    ", \"fixef\": ", object(coef(fit)), ", \"se\": ", object(sqrt(diag(vcov(fit)))[1:2]),
    ", \"thresholds\": [", paste(number(fit$zeta), collapse = ", "), "]}"
  ))
}
writeLines(c("[", paste(out, collapse = ",\n"), "]"), "data/glmer.json")
