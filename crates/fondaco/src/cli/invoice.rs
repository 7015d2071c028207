//! The arguments of `fondaco invoice`.

use clap::{Args, Subcommand};
use std::time::Duration;

/// What can be done about invoices.
#[derive(Debug, Subcommand)]
pub(crate) enum InvoiceCommand {
    /// Ask for a payment: makes one word of text, which who is to pay gives to `fondaco pay`
    #[command(
        after_help = "Example:\n  fondaco invoice create 12.50 CLR --from fon1… --for \"two loaves\" --within 7d\n\n\
                      `fondaco deposits` tells which deposit pays it. Whoever pays with another program, over LCP-2003 say,\n\
                      gives the order as the transaction id."
    )]
    Create(CreateInvoiceArgs),
    /// Say what an invoice asks for, and whether its payee signed it; asks nobody
    #[command(after_help = "Example:\n  fondaco invoice show invoice:AQ…")]
    Show {
        /// The invoice, as its payee sent it: invoice:…
        invoice: String,
    },
    /// List your invoices that are open, the first due first
    List {
        /// Those that were paid or cancelled, too
        #[arg(long)]
        all: bool,
    },
    /// Give up an invoice that is open: what still comes for it does not pay it
    #[command(after_help = "Example:\n  fondaco invoice cancel 3f0a…")]
    Cancel {
        /// Which: its order, 64 hex digits, or the invoice itself
        order: String,
    },
}

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct CreateInvoiceArgs {
    /// How much
    pub(crate) amount: String,
    /// In which currency; may be left out when you accept only one
    pub(crate) currency: Option<String>,
    /// Who is to pay: fon1…, or 64 hex digits; without it, anybody may, and anybody who sees the invoice can say
    /// that it was him
    #[arg(long, value_name = "ENTITY")]
    pub(crate) from: Option<String>,
    /// What for, for people: at most 128 bytes
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) r#for: String,
    /// How long there is time to pay it, as 7d or 1h
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = humantime::parse_duration)]
    pub(crate) within: Duration,
}
