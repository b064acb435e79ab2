//! A lab's domains as fields of a struct, so that a misspelt one does not compile, or is told before anything comes up.

/// A lab with its domains as fields, which are called as in the file unless a word says how.
///
/// ```no_run
/// use rdomain::lab::Lab;
///
/// rdomain::rootless!();
/// rdomain::nodes! { struct Office { router = "0", laptop, printer } }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # // #[test]
/// let office = Office::up(&Lab::from_file("office.yaml")?)?;
/// let listener = office.printer.tcp_listener("10.0.0.9:631")?;
/// office.laptop.exec(["ping", "-c1", "10.0.0.9"])?;
/// office.cut("laptop/eth0")?;
/// # Ok(()) }
/// ```
///
/// It is a [`Lab`](crate::lab::Lab) otherwise, by `Deref`.
#[macro_export]
macro_rules! nodes {
    (
        $(#[$about:meta])*
        $public:vis struct $name:ident { $($(#[$of_field:meta])* $field:ident $(= $word:literal)?),+ $(,)? }
    ) => {
        $(#[$about])*
        $public struct $name {
            $($(#[$of_field])* $public $field: $crate::lab::Domain,)+
            lab: $crate::lab::Lab,
        }

        impl $name {
            /// Brings the network up, if it has all of these domains.
            $public fn up(blueprint: &$crate::lab::Blueprint) -> ::std::result::Result<Self, $crate::lab::LabError> {
                // The field's name, and the word after it, which goes before it.
                let words = [$([::std::stringify!($field) $(, $word)?].as_slice()),+];
                let (lab, [$($field),+]) = blueprint.up_with(words.map(|words| words[words.len() - 1]))?;
                ::std::result::Result::Ok(Self { $($field,)+ lab })
            }
        }

        impl ::std::ops::Deref for $name {
            type Target = $crate::lab::Lab;

            fn deref(&self) -> &$crate::lab::Lab {
                &self.lab
            }
        }
    };
}
