//! Writes the reader of one type.
//!
//! All that can be shared is in `antiphon_sync::form`; what is written here is calls, one a member, because it is
//! written once for each type. It refuses what the client has no use for: unions, and structs without names.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Error, Field, Fields, FieldsNamed, Result, Variant, ext::IdentExt};

use crate::attributes::{Attributes, Case};

pub(crate) fn reader(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::of(&input.attrs)?;
    let name = &input.ident;
    let (members, read) = match &input.data {
        Data::Struct(data) => {
            let Fields::Named(fields) = &data.fields else {
                return Err(Error::new_spanned(name, "`Form` reads structs with named members"));
            };
            let taken = taken(fields, attributes.rename_all)?;
            let whole = if attributes.deny_unknown { quote!(members_only) } else { quote!(members) };
            (Some(quote!(::core::result::Result::Ok(Self #taken))), quote!(crate::form::#whole(document)))
        }
        Data::Enum(data) => match &attributes.tag {
            Some(tag) => (Some(tagged(data, &attributes, tag)?), quote!(crate::form::members(document))),
            None => (None, named(data, &attributes)?),
        },
        Data::Union(_) => return Err(Error::new_spanned(name, "`Form` reads no unions")),
    };
    let members = members.map(|body| {
        quote! {
            impl crate::form::Members for #name {
                fn take(from: &mut crate::form::Object) -> ::core::result::Result<Self, crate::form::Unread> { #body }
            }
        }
    });
    Ok(quote! {
        #members
        impl crate::form::Form for #name {
            fn read(document: ::serde_json::Value) -> ::core::result::Result<Self, crate::form::Unread> { #read }
        }
    })
}

/// `{ a: ..., b: ... }`, each taken out of `from`.
fn taken(fields: &FieldsNamed, case: Case) -> Result<TokenStream> {
    let taken = fields.named.iter().map(|field| member(field, case)).collect::<Result<Vec<_>>>()?;
    Ok(quote!({ #(#taken),* }))
}

fn member(field: &Field, case: Case) -> Result<TokenStream> {
    let attributes = Attributes::of(&field.attrs)?;
    let Some(ident) = &field.ident else { return Err(Error::new_spanned(field, "a member without a name")) };
    let name = attributes.rename.unwrap_or_else(|| case.member(&ident.unraw().to_string()));
    let value = if attributes.skip {
        quote!(::core::default::Default::default())
    } else if attributes.flatten {
        quote!(crate::form::Members::take(from)?)
    } else if let Some(with) = attributes.with {
        quote!(crate::form::member_with(from, #name, #with)?)
    } else if attributes.default {
        quote!(crate::form::member_or_default(from, #name)?)
    } else {
        quote!(crate::form::member(from, #name)?)
    };
    Ok(quote!(#ident: #value))
}

/// An enum whose name stands among its members.
fn tagged(data: &DataEnum, attributes: &Attributes, tag: &str) -> Result<TokenStream> {
    let choice = choice(data, attributes, |variant| {
        let ident = &variant.ident;
        Ok(match &variant.fields {
            Fields::Unit => quote!(::core::result::Result::Ok(Self::#ident)),
            Fields::Named(fields) => {
                let taken = taken(fields, attributes.rename_all_fields)?;
                quote!(::core::result::Result::Ok(Self::#ident #taken))
            }
            Fields::Unnamed(_) => quote!(crate::form::Members::take(from).map(Self::#ident)),
        })
    })?;
    Ok(quote! {
        let name = crate::form::member::<::std::string::String>(from, #tag)?;
        #choice
    })
}

/// An enum that is its variant's name, or an object with that name alone.
fn named(data: &DataEnum, attributes: &Attributes) -> Result<TokenStream> {
    let only_names = data.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit));
    let alone = only_names.then(|| quote!(crate::form::alone(inner)?;));
    let choice = choice(data, attributes, |variant| {
        let ident = &variant.ident;
        Ok(match &variant.fields {
            Fields::Unit if only_names => quote!(::core::result::Result::Ok(Self::#ident)),
            Fields::Unit => quote!(crate::form::alone(inner).map(|()| Self::#ident)),
            Fields::Named(fields) => {
                let taken = taken(fields, attributes.rename_all_fields)?;
                quote!({
                    let from = &mut crate::form::object(inner)?;
                    ::core::result::Result::Ok(Self::#ident #taken)
                })
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                quote!(crate::form::Form::read(inner).map(Self::#ident))
            }
            Fields::Unnamed(fields) => {
                let parts: Vec<_> = (0..fields.unnamed.len()).map(|place| format_ident!("part_{place}")).collect();
                quote!(crate::form::Form::read(inner).map(|(#(#parts),*)| Self::#ident(#(#parts),*)))
            }
        })
    })?;
    Ok(quote! {
        let (name, inner) = crate::form::named(document)?;
        #alone
        #choice
    })
}

/// Chooses a variant by `name`: by its place in a table, since a comparison with each name weighs more.
fn choice(data: &DataEnum, all: &Attributes, made: impl Fn(&Variant) -> Result<TokenStream>) -> Result<TokenStream> {
    let (mut names, mut arms, mut other) = (Vec::new(), Vec::new(), None);
    for variant in &data.variants {
        let (own, ident) = (Attributes::of(&variant.attrs)?, &variant.ident);
        if own.other {
            other = Some(quote!(::core::result::Result::Ok(Self::#ident)));
            continue;
        }
        arms.push(made(variant)?);
        names.push(name(variant, &own, all));
    }
    // Where no name is for others, `which` has refused what is not in the table, and the last arm takes the last name.
    let place = match &other {
        Some(_) => quote!(crate::form::place(&name, &[#(#names),*]).unwrap_or(usize::MAX)),
        None => quote!(crate::form::which(&name, &[#(#names),*])?),
    };
    let last = match other {
        Some(other) => Some(other),
        None => arms.pop(),
    };
    let places = 0..arms.len();
    Ok(quote!(match #place { #(#places => #arms,)* _ => #last }))
}

pub(crate) fn name(variant: &Variant, own: &Attributes, all: &Attributes) -> String {
    own.rename.clone().unwrap_or_else(|| all.rename_all.variant(&variant.ident.to_string()))
}
