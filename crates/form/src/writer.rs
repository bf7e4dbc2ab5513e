//! Writes the writer of one type.
//!
//! As in `reader`, what can be shared is in `antiphon_sync::form`, and each member is a call. Law: members are written in
//! the order in which they are declared, as serde writes them. It refuses what `reader` refuses.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Error, Field, Fields, FieldsNamed, Result, Variant, ext::IdentExt};

use crate::{
    attributes::{Attributes, Case},
    reader::{bound, name},
};

pub(crate) fn writer(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = Attributes::of(&input.attrs)?;
    let ident = &input.ident;
    let (parts, write) = match &input.data {
        Data::Struct(data) => {
            let Fields::Named(fields) = &data.fields else {
                return Err(Error::new_spanned(ident, "`Written` writes structs with named members"));
            };
            let (names, written) = (bound(fields), written(fields, attributes.rename_all)?);
            (Some(quote!(let Self #names = self; #written)), quote!(crate::form::write_object(self, out)))
        }
        Data::Enum(data) => match &attributes.tag {
            Some(tag) => (Some(tagged(data, &attributes, tag)?), quote!(crate::form::write_object(self, out))),
            None => (None, named(data, &attributes)?),
        },
        Data::Union(_) => return Err(Error::new_spanned(ident, "`Written` writes no unions")),
    };
    let (generics, of, whose) = input.generics.split_for_impl();
    let parts = parts.map(|body| {
        quote! {
            impl #generics crate::form::Parts for #ident #of #whose {
                fn parts(&self, out: &mut ::std::string::String) { #body }
            }
        }
    });
    Ok(quote! {
        #parts
        impl #generics crate::form::Written for #ident #of #whose {
            fn write(&self, out: &mut ::std::string::String) { #write }
        }
    })
}

fn written(fields: &FieldsNamed, case: Case) -> Result<TokenStream> {
    let written = fields.named.iter().map(|field| member(field, case)).collect::<Result<Vec<_>>>()?;
    Ok(quote!(#(#written)*))
}

fn member(field: &Field, case: Case) -> Result<TokenStream> {
    let attributes = Attributes::of(&field.attrs)?;
    let Some(ident) = &field.ident else { return Err(Error::new_spanned(field, "a member without a name")) };
    let name = attributes.rename.unwrap_or_else(|| case.member(&ident.unraw().to_string()));
    let write = if attributes.skip {
        quote!(let _ = #ident;)
    } else if attributes.flatten {
        quote!(crate::form::Parts::parts(#ident, out);)
    } else {
        quote!(crate::form::write_member(out, #name, #ident);)
    };
    Ok(match attributes.skip_writing {
        Some(skip) => quote!(if !#skip(#ident) { #write }),
        None => write,
    })
}

/// An enum whose name stands among its members, and its content beside it or in a member of its own.
fn tagged(data: &DataEnum, attributes: &Attributes, tag: &str) -> Result<TokenStream> {
    arms(data, attributes, |variant, name| {
        let ident = &variant.ident;
        let named = quote!(crate::form::write_member(out, #tag, #name););
        Ok(match (&variant.fields, &attributes.content) {
            (Fields::Unit, _) => quote!(Self::#ident => { #named }),
            (Fields::Named(fields), None) => {
                let (names, written) = (bound(fields), written(fields, attributes.rename_all_fields)?);
                quote!(Self::#ident #names => { #named #written })
            }
            (Fields::Named(fields), Some(content)) => {
                let (names, written) = (bound(fields), written(fields, attributes.rename_all_fields)?);
                quote!(Self::#ident #names => {
                    #named
                    crate::form::write_name(out, #content);
                    out.push('{');
                    #written
                    out.push('}');
                })
            }
            (Fields::Unnamed(_), None) => quote!(Self::#ident(one) => { #named crate::form::Parts::parts(one, out); }),
            (Fields::Unnamed(_), Some(content)) => {
                quote!(Self::#ident(one) => { #named crate::form::write_member(out, #content, one); })
            }
        })
    })
}

/// An enum that is its variant's name, or an object with that name alone.
fn named(data: &DataEnum, attributes: &Attributes) -> Result<TokenStream> {
    arms(data, attributes, |variant, name| {
        let ident = &variant.ident;
        Ok(match &variant.fields {
            Fields::Unit => quote!(Self::#ident => crate::form::Written::write(#name, out),),
            Fields::Named(fields) => {
                let (names, written) = (bound(fields), written(fields, attributes.rename_all_fields)?);
                quote!(Self::#ident #names => {
                    out.push('{');
                    crate::form::write_name(out, #name);
                    out.push('{');
                    #written
                    out.push_str("}}");
                })
            }
            Fields::Unnamed(fields) => {
                let parts: Vec<_> = (0..fields.unnamed.len()).map(|place| format_ident!("part_{place}")).collect();
                let inner = if parts.len() == 1 { quote!(#(#parts)*) } else { quote!(&(#(#parts),*)) };
                quote!(Self::#ident(#(#parts),*) => {
                    out.push('{');
                    crate::form::write_member(out, #name, #inner);
                    out.push('}');
                })
            }
        })
    })
}

fn arms(
    data: &DataEnum,
    all: &Attributes,
    arm: impl Fn(&Variant, String) -> Result<TokenStream>,
) -> Result<TokenStream> {
    let one = |variant: &Variant| arm(variant, name(variant, &Attributes::of(&variant.attrs)?, all));
    let arms = data.variants.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(quote!(match self { #(#arms)* }))
}
