//! Writes the reader of one type.
//!
//! All that can be shared is in `antiphon_sync::form`; what is written here is calls, one a member, because it is
//! written once for each type. A value is made blank and filled in place: what is refused is noted once, and no member
//! needs a way out that takes the ones before it apart. It refuses what the client has no use for: unions, and structs
//! without names.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Error, Field, Fields, FieldsNamed, Result, Variant, ext::IdentExt};

use crate::attributes::{Attributes, Case};

pub(crate) fn reader(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::of(&input.attrs)?;
    let name = &input.ident;
    let (members, fill, blank) = match &input.data {
        Data::Struct(data) => {
            let Fields::Named(fields) = &data.fields else {
                return Err(Error::new_spanned(name, "`Form` reads structs with named members"));
            };
            let (bound, blank, taken) = (bound(fields), blank(fields)?, taken(fields, attributes.rename_all)?);
            let whole = if attributes.deny_unknown { quote!(members_only) } else { quote!(members) };
            let take = quote!(let Self #bound = self; #taken);
            (Some(take), quote!(crate::form::#whole(self, document, form_refused)), quote!(Self #blank))
        }
        Data::Enum(data) => {
            let blank = first(data)?;
            match &attributes.tag {
                Some(tag) => {
                    let take = tagged(data, &attributes, tag)?;
                    (Some(take), quote!(crate::form::members(self, document, form_refused)), blank)
                }
                None => (None, named(data, &attributes)?, blank),
            }
        }
        Data::Union(_) => return Err(Error::new_spanned(name, "`Form` reads no unions")),
    };
    let members = members.map(|body| {
        quote! {
            impl crate::form::Members for #name {
                fn take(&mut self, form_from: &mut crate::form::Taken<'_>) { #body }
            }
        }
    });
    Ok(quote! {
        #members
        impl crate::form::Form for #name {
            fn blank() -> Self { #blank }
            fn fill(&mut self, document: crate::json::Value, form_refused: &mut crate::form::Refused) { #fill }
        }
    })
}

/// `{ a, b }`, to take a type apart.
pub(crate) fn bound(fields: &FieldsNamed) -> TokenStream {
    let names = fields.named.iter().map(|field| &field.ident);
    quote!({ #(#names),* })
}

/// `{ a: ..., b: ... }`, each as it is where nothing is said.
fn blank(fields: &FieldsNamed) -> Result<TokenStream> {
    let member = |field: &Field| {
        let (attributes, ident) = (Attributes::of(&field.attrs)?, &field.ident);
        let is_default = attributes.skip || attributes.default || attributes.with.is_some();
        let blank =
            if is_default { quote!(::core::default::Default::default()) } else { quote!(crate::form::Form::blank()) };
        Ok(quote!(#ident: #blank))
    };
    let members = fields.named.iter().map(member).collect::<Result<Vec<_>>>()?;
    Ok(quote!({ #(#members),* }))
}

/// Fills each member by its name in Rust; names of ours begin with `form_`, beside those of members.
fn taken(fields: &FieldsNamed, case: Case) -> Result<TokenStream> {
    let taken = fields.named.iter().map(|field| member(field, case)).collect::<Result<Vec<_>>>()?;
    Ok(quote!(#(#taken)*))
}

fn member(field: &Field, case: Case) -> Result<TokenStream> {
    let attributes = Attributes::of(&field.attrs)?;
    let Some(ident) = &field.ident else { return Err(Error::new_spanned(field, "a member without a name")) };
    let name = attributes.rename.unwrap_or_else(|| case.member(&ident.unraw().to_string()));
    Ok(if attributes.skip {
        quote!(let _ = #ident;)
    } else if attributes.flatten {
        quote!(crate::form::Members::take(#ident, form_from);)
    } else if let Some(with) = attributes.with {
        quote!(crate::form::member_with(form_from, #name, #ident, #with);)
    } else if attributes.default {
        quote!(crate::form::member_or_default(form_from, #name, #ident);)
    } else {
        quote!(crate::form::member(form_from, #name, #ident);)
    })
}

/// A variant that stands for none: the first without content, or the first.
fn first(data: &DataEnum) -> Result<TokenStream> {
    let empty = data.variants.iter().find(|variant| matches!(variant.fields, Fields::Unit));
    let Some(variant) = empty.or(data.variants.first()) else {
        return Err(Error::new_spanned(data.enum_token, "`Form` reads no enums without variants"));
    };
    blank_variant(variant)
}

fn blank_variant(variant: &Variant) -> Result<TokenStream> {
    let ident = &variant.ident;
    Ok(match &variant.fields {
        Fields::Unit => quote!(Self::#ident),
        Fields::Named(fields) => {
            let blank = blank(fields)?;
            quote!(Self::#ident #blank)
        }
        Fields::Unnamed(fields) => {
            let blanks = fields.unnamed.iter().map(|_| quote!(crate::form::Form::blank()));
            quote!(Self::#ident(#(#blanks),*))
        }
    })
}

/// An enum whose name stands among its members.
fn tagged(data: &DataEnum, attributes: &Attributes, tag: &str) -> Result<TokenStream> {
    let (names, choice) = choice(data, attributes, |variant| {
        Ok(match &variant.fields {
            Fields::Unit => TokenStream::new(),
            Fields::Named(fields) => taken(fields, attributes.rename_all_fields)?,
            Fields::Unnamed(_) => quote!(crate::form::Members::take(part_0, form_from);),
        })
    })?;
    Ok(quote! {
        let form_place = crate::form::tag(form_from, #tag, #names);
        #choice
    })
}

/// An enum that is its variant's name, or an object with that name alone.
fn named(data: &DataEnum, attributes: &Attributes) -> Result<TokenStream> {
    let only_names = data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit));
    let (names, choice) = choice(data, attributes, |variant| {
        Ok(match &variant.fields {
            Fields::Unit if only_names => TokenStream::new(),
            Fields::Unit => quote!(crate::form::alone(&form_inner, form_refused);),
            Fields::Named(fields) => {
                let taken = taken(fields, attributes.rename_all_fields)?;
                quote!({
                    let form_from = &mut crate::form::object(form_inner, form_refused);
                    #taken
                })
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                quote!(crate::form::Form::fill(part_0, form_inner, form_refused);)
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 2 => quote! {
                let (one, other) = crate::form::pair(form_inner, form_refused);
                crate::form::Form::fill(part_0, one, form_refused);
                crate::form::Form::fill(part_1, other, form_refused);
            },
            Fields::Unnamed(_) => return Err(Error::new_spanned(variant, "`Form` reads no more than pairs")),
        })
    })?;
    Ok(if only_names {
        quote! {
            let form_place = crate::form::name_alone(document, #names, form_refused);
            #choice
        }
    } else {
        quote! {
            let (form_place, form_inner) = crate::form::named(document, #names, form_refused);
            #choice
        }
    })
}

/// Chooses a variant by its `place` in the table of names, which comes first: a comparison with each name weighs more.
/// The last arm takes the place of no name: of the variant for others, or of what was refused and is given up.
fn choice(
    data: &DataEnum,
    all: &Attributes,
    filled: impl Fn(&Variant) -> Result<TokenStream>,
) -> Result<(TokenStream, TokenStream)> {
    let (mut names, mut arms, mut other) = (Vec::new(), Vec::new(), None);
    for variant in &data.variants {
        let own = Attributes::of(&variant.attrs)?;
        let (blank, ident) = (blank_variant(variant)?, &variant.ident);
        if own.other {
            other = Some(quote!(*self = #blank));
            continue;
        }
        let parts = match &variant.fields {
            Fields::Unit => None,
            Fields::Named(fields) => Some(bound(fields)),
            Fields::Unnamed(fields) => {
                let parts = (0..fields.unnamed.len()).map(|place| format_ident!("part_{place}"));
                Some(quote!((#(#parts),*)))
            }
        };
        let fill = filled(variant)?;
        arms.push(match parts {
            None => quote!({ *self = #blank; #fill }),
            Some(parts) => quote!({ *self = #blank; if let Self::#ident #parts = self { #fill } }),
        });
        names.push(name(variant, &own, all));
    }
    let names = match &other {
        Some(_) => quote!(crate::form::Names::OrOther(&[#(#names),*])),
        None => quote!(crate::form::Names::Only(&[#(#names),*])),
    };
    let last = match other {
        Some(other) => Some(other),
        None => arms.pop(),
    };
    let places = 0..arms.len();
    Ok((names, quote!(match form_place { #(#places => #arms,)* _ => #last })))
}

pub(crate) fn name(variant: &Variant, own: &Attributes, all: &Attributes) -> String {
    own.rename.clone().unwrap_or_else(|| all.rename_all.variant(&variant.ident.to_string()))
}
